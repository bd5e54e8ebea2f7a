// The deterministic mode of GradientReducer.
#include <algorithm>

#include "parallel/micro_batch_tree.h"
#include "parallel/reduction_strategy.h"

namespace rosa::parallel {
namespace {

class TreeReduction final : public ReductionStrategy {
 public:
  explicit TreeReduction(const ReductionContext& context) : context_(context) {
    const int64_t run = context_.owned.second - context_.owned.first;
    for (int rank = 0; rank < context_.communicator.world_size(); ++rank) {
      nodes_of_rank_.push_back(maximal_subtrees(rank * run, (rank + 1) * run));
    }
  }

  void begin_micro_batch(bool is_first) override {
    if (is_first) {
      if (result_.defined()) free_buffers_.push_back(std::move(result_));
      next_leaf_ = context_.owned.first;
    }
    if (free_buffers_.empty()) {
      // Zeros: the padding between tensors is added and sent too.
      leaf_ = at::zeros({context_.layout.length()}, context_.tensors.front().options().requires_grad(false));
    } else {
      leaf_ = std::move(free_buffers_.back());
      free_buffers_.pop_back();
    }
    max_live_buffers_ = std::max(max_live_buffers_, static_cast<int64_t>(subtrees_.sums().size()) + 1);
  }

  void take(size_t tensor) override {
    at::Tensor slice = leaf_.narrow(0, context_.layout.offset(tensor), context_.layout.size(tensor));
    at::Tensor& gradient = context_.tensors[tensor].mutable_grad();
    if (gradient.defined()) {
      slice.copy_(gradient.reshape({-1}));
      gradient.reset();
    } else {
      slice.zero_();
    }
  }

  void end_micro_batch() override {
    const std::vector<at::Tensor> before = subtrees_.sums();
    at::Tensor leaf = std::move(leaf_);
    subtrees_.push({next_leaf_++, 1}, leaf);
    for (const at::Tensor& buffer : before) free_unless_used(buffer);
    free_unless_used(leaf);
  }

  // The last leaf joins the subtrees bucket by bucket, so that a bucket can set out while others are computed.
  void start_bucket(size_t bucket) override {
    const FlatRange range = context_.layout.bucket(bucket);
    std::vector<at::Tensor> slices;
    for (const at::Tensor& buffer : subtrees_.sums()) slices.push_back(buffer.slice(0, range.begin, range.end));
    TreeSums own(subtrees_.nodes(), std::move(slices));
    own.push({next_leaf_, 1}, leaf_.slice(0, range.begin, range.end));
    if (context_.communicator.world_size() == 1) {
      own.fold();
    } else {
      reduce_over_ranks(bucket, own.sums());
    }
  }

  void complete_bucket(size_t) override {}

  at::Tensor result() override {
    result_ = result_buffer();
    for (const at::Tensor& buffer : subtrees_.sums()) {
      if (!buffer.is_same(result_)) free_buffers_.push_back(buffer);
    }
    if (!leaf_.is_same(result_)) free_buffers_.push_back(leaf_);
    leaf_.reset();
    subtrees_ = {};
    return result_;
  }

  int64_t max_live_buffers() const override { return max_live_buffers_; }

 private:
  // Where the sums are left: the first subtree's buffer, into which the others of this rank are folded.
  const at::Tensor& result_buffer() const { return subtrees_.sums().empty() ? leaf_ : subtrees_.sums().front(); }

  void free_unless_used(const at::Tensor& buffer) {
    const auto& used = subtrees_.sums();
    if (std::none_of(used.begin(), used.end(), [&](const at::Tensor& other) { return other.is_same(buffer); })) {
      free_buffers_.push_back(buffer);
    }
  }

  at::Tensor part_of_result(size_t bucket, int rank) const {
    const FlatRange part = context_.layout.part(bucket, rank);
    return result_buffer().slice(0, part.begin, part.end);
  }

  // `sums`: the bucket of this rank's maximal subtrees.
  void reduce_over_ranks(size_t bucket, const std::vector<at::Tensor>& sums) {
    Communicator& communicator = context_.communicator;
    const at::Tensor total = sum_own_part(bucket, sums);
    at::Tensor own = part_of_result(bucket, communicator.rank());
    if (own.data_ptr() != total.data_ptr()) own.copy_(total);
    if (context_.sharded) return;
    // What is overwritten now has been sent.
    std::vector<at::Tensor> receives;
    for (int rank = 0; rank < communicator.world_size(); ++rank) receives.push_back(part_of_result(bucket, rank));
    communicator.all_gather(own, receives);
  }

  // Sends to each rank its part of this rank's subtrees; returns the tree's sum of this rank's part of all.
  at::Tensor sum_own_part(size_t bucket, const std::vector<at::Tensor>& sums) {
    Communicator& communicator = context_.communicator;
    const size_t world_size = static_cast<size_t>(communicator.world_size());
    const size_t own_rank = static_cast<size_t>(communicator.rank());
    const int64_t part_length = context_.layout.part(bucket, 0).size();
    const at::Tensor none = at::empty({0}, sums.front().options());
    size_t num_rounds = 0;
    for (const auto& nodes : nodes_of_rank_) num_rounds = std::max(num_rounds, nodes.size());
    std::vector<std::vector<at::Tensor>> parts(world_size);
    for (size_t round = 0; round < num_rounds; ++round) {
      std::vector<at::Tensor> sends(world_size, none), receives(world_size, none);
      for (size_t rank = 0; rank < world_size; ++rank) {
        const int64_t begin = static_cast<int64_t>(rank) * part_length;
        if (round < sums.size()) sends[rank] = sums[round].slice(0, begin, begin + part_length);
        if (round >= nodes_of_rank_[rank].size()) continue;
        receives[rank] = rank == own_rank ? sends[rank] : at::empty({part_length}, none.options());
        parts[rank].push_back(receives[rank]);
      }
      communicator.all_to_all(sends, receives);
    }
    TreeSums tree;
    for (size_t rank = 0; rank < world_size; ++rank) {
      for (size_t i = 0; i < parts[rank].size(); ++i) tree.push(nodes_of_rank_[rank][i], parts[rank][i]);
    }
    return tree.fold();
  }

  ReductionContext context_;
  std::vector<std::vector<TreeNode>> nodes_of_rank_;
  TreeSums subtrees_;  // of this rank's earlier micro-batches
  int64_t next_leaf_ = 0;
  at::Tensor leaf_;  // of the micro-batch under way
  at::Tensor result_;
  std::vector<at::Tensor> free_buffers_;  // kept: fresh pages cost more than the sums
  int64_t max_live_buffers_ = 0;
};

}  // namespace

std::unique_ptr<ReductionStrategy> make_tree_reduction(const ReductionContext& context) {
  return std::make_unique<TreeReduction>(context);
}

}  // namespace rosa::parallel
