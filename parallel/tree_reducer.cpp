#include "parallel/tree_reducer.h"

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

namespace {

// Appends a subtree and its sum, merging both lists alike.
void push(std::vector<TreeNode>& nodes, std::vector<at::Tensor>& sums, TreeNode node, at::Tensor sum) {
  sums.push_back(std::move(sum));
  push_tree_node(nodes, node, [&](size_t into, size_t from) {
    sums[into].add_(sums[from]);
    sums.pop_back();
  });
}

// Adds what the binary counter left, smallest to largest, into one sum.
at::Tensor fold(std::vector<at::Tensor> sums) {
  while (sums.size() > 1) {
    sums[sums.size() - 2].add_(sums.back());
    sums.pop_back();
  }
  return sums.front();
}

}  // namespace

TreeReducer::TreeReducer(Communicator& communicator, int64_t num_micro_batches)
    : communicator_(communicator), num_micro_batches_(num_micro_batches) {
  std::tie(first_, end_) = owned_micro_batches(num_micro_batches, communicator.rank(), communicator.world_size());
  next_ = first_;
}

void TreeReducer::add(at::Tensor leaf) {
  require(next_ < end_, "TreeReducer::add on rank ", communicator_.rank(), ": got a leaf beyond its ", end_ - first_,
          " micro-batches; call finish() first");
  require(leaf.defined() && leaf.dim() == 1 && leaf.is_contiguous() &&
              (leaf.scalar_type() == at::kFloat || leaf.scalar_type() == at::kDouble),
          "TreeReducer::add: expected a flat, contiguous float32 or float64 tensor");
  leaf = leaf.detach();
  if (!buffers_.empty()) {
    require(leaf.numel() == buffers_.back().numel() && leaf.scalar_type() == buffers_.back().scalar_type(),
            "TreeReducer::add: got a leaf of ", leaf.numel(), " elements of ", c10::toString(leaf.scalar_type()),
            " after one of ", buffers_.back().numel(), " of ", c10::toString(buffers_.back().scalar_type()));
  }
  max_live_buffers_ = std::max(max_live_buffers_, static_cast<int64_t>(buffers_.size()) + 1);
  push(nodes_, buffers_, {next_++, 1}, std::move(leaf));
}

// Sends to each rank its slice of this rank's subtrees; returns this rank's slice of all subtrees, in leaf order.
std::vector<at::Tensor> TreeReducer::exchange_slices(const std::vector<int64_t>& slice_begins, int64_t length) {
  const int world_size = communicator_.world_size();
  const int64_t run = end_ - first_;
  std::vector<size_t> num_nodes;
  for (int rank = 0; rank < world_size; ++rank) {
    num_nodes.push_back(maximal_subtrees(rank * run, (rank + 1) * run).size());
  }
  const size_t rank = static_cast<size_t>(communicator_.rank());
  const int64_t own_length = slice_begins[rank + 1] - slice_begins[rank];
  const at::Tensor empty = at::empty({0}, buffers_.front().options());
  std::vector<std::vector<at::Tensor>> received(static_cast<size_t>(world_size));
  const size_t num_rounds = *std::max_element(num_nodes.begin(), num_nodes.end());
  for (size_t round = 0; round < num_rounds; ++round) {
    std::vector<at::Tensor> sends;
    std::vector<at::Tensor> receives;
    for (size_t other = 0; other < static_cast<size_t>(world_size); ++other) {
      const bool has_own = round < buffers_.size();
      sends.push_back(has_own ? buffers_[round].slice(0, slice_begins[other], slice_begins[other + 1]) : empty);
      receives.push_back(round < num_nodes[other] ? at::empty({own_length}, empty.options()) : empty);
      if (round < num_nodes[other]) received[other].push_back(receives.back());
    }
    communicator_.all_to_all(sends, receives);
  }
  require(slice_begins.back() == length, "TreeReducer: slices do not cover the buffer");
  std::vector<at::Tensor> in_order;
  for (const auto& of_rank : received) in_order.insert(in_order.end(), of_rank.begin(), of_rank.end());
  return in_order;
}

at::Tensor TreeReducer::finish() {
  require(next_ == end_, "TreeReducer::finish on rank ", communicator_.rank(), ": got ", next_ - first_,
          " leaves, expected ", end_ - first_);
  const int world_size = communicator_.world_size();
  at::Tensor result;
  if (world_size == 1) {
    result = fold(std::move(buffers_));
  } else {
    const int64_t length = buffers_.front().numel();
    std::vector<int64_t> slice_begins;
    for (int rank = 0; rank <= world_size; ++rank) slice_begins.push_back(length * rank / world_size);
    std::vector<at::Tensor> slices = exchange_slices(slice_begins, length);

    std::vector<TreeNode> nodes;
    std::vector<at::Tensor> sums;
    size_t next_slice = 0;
    for (int rank = 0; rank < world_size; ++rank) {
      for (const TreeNode& node : maximal_subtrees(rank * (end_ - first_), (rank + 1) * (end_ - first_))) {
        push(nodes, sums, node, std::move(slices[next_slice++]));
      }
    }
    const at::Tensor own_slice = fold(std::move(sums));

    result = buffers_.front();  // its contents have been sent and are free to be overwritten
    std::vector<at::Tensor> receives;
    for (size_t rank = 0; rank < static_cast<size_t>(world_size); ++rank) {
      receives.push_back(result.slice(0, slice_begins[rank], slice_begins[rank + 1]));
    }
    communicator_.all_gather(own_slice, receives);
  }
  nodes_.clear();
  buffers_.clear();
  next_ = first_;
  return result;
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
