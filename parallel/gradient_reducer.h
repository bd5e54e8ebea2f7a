// GradientReducer: sums the gradients of a global batch over its micro-batches and over the ranks, while the last
// backward goes on. It is given tensors and told when their gradients are complete; it knows no models.
// Two modes (reduction_config.h): tree_reduction.cpp and bucket_reduction.cpp. Does no clipping and no update.
//
//   for each micro-batch of owned():  reducer.run_backward([&] { backward of it });
//   at::Tensor gradient = reducer.finish();
//
// Its thread has a communicator of its own.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/trace.h"
#include "parallel/communication_thread.h"
#include "parallel/communicator.h"
#include "parallel/flat_layout.h"
#include "parallel/reduction_config.h"

namespace rosa::parallel {

class ReductionStrategy;

// A tensor whose gradient (tensor.grad()) is summed.
struct ReducedTensor {
  at::Tensor tensor;  // float32, contiguous; all on one device
  // Registers `ready`, which is then called when a backward has completed the tensor's gradient: at most once for each
  // backward, on any thread. An empty function unregisters it.
  std::function<void(std::function<void()> ready)> on_ready;
};

// `tensor`, a leaf that requires a gradient, whose ready callback is autograd's post-accumulate hook.
ReducedTensor reduced_by_autograd(const at::Tensor& tensor);

// What the communication of one step cost. On the host by its clock; there waiting for slower ranks is not counted. On
// a GPU by events on the line of communication at both ends of each bucket: from when its gradients are complete to
// when the sum is, waiting for slower ranks included.
struct ReductionTimes {
  double communication_ms = 0.0;  // buckets on their way
  double exposed_ms = 0.0;        // the part of it after the backward: on the host, that fell into finish()
};

class GradientReducer {
 public:
  // `placement` is the order in which the gradients become complete, as indices into `tensors`. The communicator
  // outlives the reducer. Throws ConfigError as owned_micro_batches and reduction_mode, ArgumentError for tensors that
  // are not float32, contiguous and on one device. Collective: every rank calls it.
  GradientReducer(Communicator& communicator, const ParallelConfig& config, int64_t num_micro_batches,
                  std::vector<ReducedTensor> tensors, const std::vector<size_t>& placement);
  // Collectives under way are given up, so that a rank that fails does not wait for others.
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  const FlatLayout& layout() const { return layout_; }
  ReductionMode mode() const { return mode_; }
  // This rank's run [first, end) of micro-batches.
  std::pair<int64_t, int64_t> owned() const { return owned_; }

  // Runs the backward of this rank's next micro-batch and takes the gradients as they become complete; tensors that
  // got none count as zero. In the last one of a step, buckets set out as soon as they are full, in the same order on
  // every rank; before that nothing is sent. What `backward` throws comes through; the reducer is of no use then.
  void run_backward(const std::function<void()>& backward);

  // Returns the sum over all micro-batches of all ranks as one flat tensor in the order of layout(), valid until the
  // next run_backward. Equal on every rank; with a sharded optimiser only this rank's parts are filled in.
  // Rethrows what happened on the communication thread. Collective: every rank calls it.
  at::Tensor finish();

  // Of the last finished step.
  const ReductionTimes& times() const { return times_; }

  // Of the step under way or the last one; may be asked on any thread.
  int64_t num_buckets_summed() const { return num_buckets_summed_; }

  // The most flat buffers that were alive at once since construction, for tests and reports.
  int64_t max_live_buffers() const;

 private:
  struct Interval {
    base::TraceTime begin, end;
    std::shared_ptr<c10::Event> begin_mark, end_mark;  // of a GPU: what counts there
  };

  void mark_backward_end();
  void mark_ready(size_t tensor);
  void take(size_t tensor);
  void send_full_buckets();
  void communicate(std::function<void()> job, CommunicationThread::Start start = CommunicationThread::Start::now);
  void reduce_bucket(size_t bucket);
  void complete_buckets();
  void meet();
  ReductionTimes measure(base::TraceTime finish_begin);
  ReductionTimes measure_on_device();

  const std::unique_ptr<Communicator> communicator_;
  std::vector<ReducedTensor> tensors_;
  const ReductionMode mode_;
  const std::pair<int64_t, int64_t> owned_;
  const FlatLayout layout_;
  std::unique_ptr<ReductionStrategy> strategy_;
  ReductionTimes times_;
  std::vector<Interval> intervals_;           // one a bucket, written by the communication thread
  std::shared_ptr<c10::Event> backward_end_;  // of a GPU, on the stream of the backward

  std::atomic<int64_t> num_buckets_summed_ = 0;

  std::mutex mutex_;  // of what follows: hooks may come from several threads
  int64_t num_done_ = 0;
  bool is_last_ = false;
  bool in_backward_ = false;
  bool failed_ = false;
  std::vector<bool> ready_;
  std::vector<size_t> num_awaited_;  // tensors of each bucket that are not ready
  size_t next_bucket_ = 0;

  std::unique_ptr<CommunicationThread> thread_;  // last: it uses the others. Null for one rank
};

// Completes a flat tensor of which each rank has its own parts (FlatLayout::part). Collective: every rank calls it.
void all_gather_parts(Communicator& communicator, const FlatLayout& layout, const at::Tensor& flat);

}  // namespace rosa::parallel
