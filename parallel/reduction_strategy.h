// ReductionStrategy: what the two modes of GradientReducer do differently. Internal to parallel/.
// start_bucket and complete_bucket run on the communication thread, take on the threads of autograd's hooks (one at a
// time), and all else on the thread of the backward.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/flat_layout.h"

namespace rosa::parallel {

// What the references name must outlive the strategy.
struct ReductionContext {
  Communicator& communicator;
  const FlatLayout& layout;
  std::vector<at::Tensor> tensors;
  std::pair<int64_t, int64_t> owned;  // this rank's micro-batches
  bool sharded = false;               // a part's sum is needed by its owner only: leave out the last exchange
};

class ReductionStrategy {
 public:
  virtual ~ReductionStrategy() = default;

  virtual void begin_micro_batch(bool is_first) = 0;
  // The gradient of the tensor is complete for this micro-batch; none where it is undefined.
  virtual void take(size_t tensor) = 0;
  // After every micro-batch but the last.
  virtual void end_micro_batch() = 0;

  // Sums a bucket over the ranks; every rank has it ready. On a GPU it may leave the last part of the work to
  // complete_bucket, which is called for every bucket once all of them were started.
  virtual void start_bucket(size_t bucket) = 0;
  virtual void complete_bucket(size_t bucket) = 0;

  // The flat sum, after the last bucket. Valid until the next begin_micro_batch.
  virtual at::Tensor result() = 0;
  virtual int64_t max_live_buffers() const = 0;
};

// The fixed tree: each micro-batch's gradient is a leaf; the bits do not depend on the number of ranks. A bucket's
// reduce-scatter is an all_to_all of the maximal subtrees and ordered local sums.
std::unique_ptr<ReductionStrategy> make_tree_reduction(const ReductionContext& context);

// Gradients are views of the buckets and accumulate in place; the communicator's own reduction sums them over ranks.
// Each element differs from the exact sum of its addends by at most (micro-batches + ranks) 2^-24 times the sum of
// their absolute values; with bfloat16 on the wire by (ranks + 1) 2^-8 times that sum more.
std::unique_ptr<ReductionStrategy> make_bucket_reduction(const ReductionContext& context, at::ScalarType wire_dtype);

}  // namespace rosa::parallel
