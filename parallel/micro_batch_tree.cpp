#include "parallel/micro_batch_tree.h"

#include <algorithm>

namespace rosa::parallel {

using base::concat;
using base::ConfigError;
using base::require;

std::pair<int64_t, int64_t> owned_micro_batches(int64_t num_micro_batches, int rank, int world_size) {
  require<ConfigError>(num_micro_batches >= 1, "a global batch of ", num_micro_batches,
                       " micro-batches, expected at least 1");
  if (num_micro_batches % world_size != 0) {
    std::string divisors;
    for (int64_t ranks = 1; ranks <= num_micro_batches; ++ranks) {
      if (num_micro_batches % ranks == 0) divisors += concat(divisors.empty() ? "" : ", ", ranks);
    }
    const int64_t below = num_micro_batches / world_size * world_size;
    const std::string near = concat(below > 0 ? concat(below, " or ") : "", below + world_size);
    throw ConfigError(concat("a global batch of ", num_micro_batches, " micro-batches cannot be shared equally by ",
                             world_size, " ranks; use ", divisors, " ranks, or a global batch of ", near,
                             " micro-batches"));
  }
  const int64_t run = num_micro_batches / world_size;
  return {rank * run, (rank + 1) * run};
}

std::vector<TreeNode> maximal_subtrees(int64_t first, int64_t end) {
  std::vector<TreeNode> nodes;
  for (int64_t leaf = first; leaf < end; ++leaf) push_tree_node(nodes, {leaf, 1}, [](size_t, size_t) {});
  return nodes;
}

TreeSums::TreeSums(std::vector<TreeNode> nodes, std::vector<at::Tensor> sums)
    : nodes_(std::move(nodes)), sums_(std::move(sums)) {
  require(nodes_.size() == sums_.size(), "TreeSums: got ", sums_.size(), " sums of ", nodes_.size(), " subtrees");
}

void TreeSums::push(TreeNode node, at::Tensor sum) {
  sums_.push_back(std::move(sum));
  push_tree_node(nodes_, node, [&](size_t into, size_t from) {
    sums_[into].add_(sums_[from]);
    sums_.pop_back();
  });
}

at::Tensor TreeSums::fold() const {
  require(!sums_.empty(), "TreeSums::fold: there is nothing to sum");
  for (size_t from = sums_.size() - 1; from > 0; --from) sums_[from - 1].add_(sums_[from]);
  return sums_.front();
}

std::vector<double> sum_in_micro_batch_order(Communicator& communicator, int64_t num_micro_batches,
                                             const std::vector<std::vector<double>>& owned_values) {
  const auto [first, end] = owned_micro_batches(num_micro_batches, communicator.rank(), communicator.world_size());
  require(static_cast<int64_t>(owned_values.size()) == end - first, "sum_in_micro_batch_order: got values of ",
          owned_values.size(), " micro-batches, expected ", end - first);
  const size_t num_values = owned_values.front().size();
  const at::Tensor mine =
      at::empty({end - first, static_cast<int64_t>(num_values)}, at::TensorOptions().dtype(at::kDouble));
  double* out = mine.data_ptr<double>();
  for (const std::vector<double>& values : owned_values) {
    require(values.size() == num_values, "sum_in_micro_batch_order: got ", values.size(), " values after ", num_values);
    out = std::copy(values.begin(), values.end(), out);
  }
  std::vector<double> sums(num_values, 0.0);
  for (const at::Tensor& of_rank : communicator.all_gather(mine)) {
    const double* value = of_rank.data_ptr<double>();
    for (int64_t micro_batch = first; micro_batch < end; ++micro_batch) {
      for (double& sum : sums) sum += *value++;
    }
  }
  return sums;
}

}  // namespace rosa::parallel
