#include "parallel/gradient_reducer.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <optional>

#include "parallel/micro_batch_tree.h"
#include "parallel/reduction_strategy.h"

namespace rosa::parallel {
namespace {

using base::require;
using Clock = std::chrono::steady_clock;

struct ReadyHook final : torch::autograd::PostAccumulateGradHook {
  explicit ReadyHook(std::function<void()> function) : ready(std::move(function)) {}
  void operator()(const at::Tensor&) override { ready(); }
  std::function<void()> ready;
};

std::vector<int64_t> sizes_of(const std::vector<ReducedTensor>& tensors) {
  std::vector<int64_t> sizes;
  for (const ReducedTensor& entry : tensors) {
    const at::Tensor& tensor = entry.tensor;
    require(tensor.defined() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous() &&
                tensor.device() == tensors.front().tensor.device(),
            "GradientReducer: tensor ", sizes.size(),
            " is not float32, contiguous and on the device of the first: got ",
            tensor.defined()
                ? base::concat(c10::toString(tensor.scalar_type()), " ", tensor.sizes(), " on ", tensor.device().str())
                : "an undefined tensor");
    sizes.push_back(tensor.numel());
  }
  return sizes;
}

double milliseconds(base::TraceTime begin, base::TraceTime end) {
  return begin < end ? std::chrono::duration<double, std::milli>(end - begin).count() : 0.0;
}

}  // namespace

ReducedTensor reduced_by_autograd(const at::Tensor& tensor) {
  require(tensor.defined() && tensor.requires_grad() && tensor.is_leaf(),
          "reduced_by_autograd: expected a leaf that requires a gradient");
  return {tensor, [tensor](std::function<void()> ready) {
            auto hook = ready ? std::make_unique<ReadyHook>(std::move(ready)) : nullptr;
            torch::autograd::impl::set_post_acc_grad_hooks(tensor, std::move(hook));
          }};
}

GradientReducer::GradientReducer(Communicator& communicator, const ParallelConfig& config, int64_t num_micro_batches,
                                 std::vector<ReducedTensor> tensors, const std::vector<size_t>& placement)
    : communicator_(communicator.duplicate()),
      tensors_(std::move(tensors)),
      mode_(reduction_mode(config, !tensors_.empty() && tensors_.front().tensor.is_cuda())),
      owned_(owned_micro_batches(num_micro_batches, communicator.rank(), communicator.world_size())),
      layout_(sizes_of(tensors_), placement, bucket_elements(config), communicator.world_size()),
      intervals_(layout_.num_buckets()),
      ready_(tensors_.size(), false),
      num_awaited_(layout_.num_buckets(), 0) {
  ReductionContext context{*communicator_, layout_, {}, owned_, config.sharded_optimizer};
  for (const ReducedTensor& entry : tensors_) context.tensors.push_back(entry.tensor);
  const at::ScalarType wire_dtype = config.wire_dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
  strategy_ = mode_ == ReductionMode::fast ? make_bucket_reduction(context, wire_dtype) : make_tree_reduction(context);
  if (communicator_->world_size() > 1) thread_ = std::make_unique<CommunicationThread>();
  for (size_t tensor = 0; tensor < tensors_.size(); ++tensor) {
    tensors_[tensor].on_ready([this, tensor] { mark_ready(tensor); });
  }
}

GradientReducer::~GradientReducer() {
  for (const ReducedTensor& entry : tensors_) entry.on_ready({});
}

void GradientReducer::run_backward(const std::function<void()>& backward) {
  at::NoGradGuard no_grad;
  const int64_t num_owned = owned_.second - owned_.first;
  {
    const std::lock_guard lock(mutex_);
    require(!failed_, "GradientReducer: an earlier backward failed; end the run");
    require(num_done_ < num_owned, "GradientReducer::run_backward on rank ", communicator_->rank(),
            ": got more than its ", num_owned, " micro-batches; call finish() first");
    is_last_ = num_done_ + 1 == num_owned;
    strategy_->begin_micro_batch(num_done_ == 0);
    std::fill(ready_.begin(), ready_.end(), false);
    for (size_t bucket = 0; bucket < num_awaited_.size(); ++bucket) {
      num_awaited_[bucket] = layout_.tensors_of(bucket).size();
    }
    next_bucket_ = 0;
    num_buckets_summed_ = 0;
    in_backward_ = true;
    failed_ = true;  // until it is over
  }
  {
    at::AutoGradMode as_called(true);
    backward();
  }
  const std::lock_guard lock(mutex_);
  for (size_t tensor = 0; tensor < ready_.size(); ++tensor) {
    if (!ready_[tensor]) take(tensor);
  }
  in_backward_ = false;
  ++num_done_;
  if (is_last_) {
    if (!tensors_.front().tensor.is_cpu()) {
      mark_backward_end();
      communicate([this] { complete_buckets(); });
    }
  } else {
    strategy_->end_micro_batch();
  }
  failed_ = false;
}

void GradientReducer::mark_backward_end() {
  if (!thread_) return;
  const at::Device device = tensors_.front().tensor.device();
  backward_end_ = std::make_shared<c10::Event>(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  backward_end_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}

void GradientReducer::mark_ready(size_t tensor) {
  const std::lock_guard lock(mutex_);
  if (!in_backward_) return;  // a backward of somebody else
  require(!ready_[tensor], "GradientReducer: tensor ", tensor, " became ready twice in one backward");
  take(tensor);
}

void GradientReducer::take(size_t tensor) {
  at::NoGradGuard no_grad;
  strategy_->take(tensor);
  ready_[tensor] = true;
  --num_awaited_[layout_.bucket_of(tensor)];
  if (is_last_) send_full_buckets();
}

// In the order of the buckets, so that every rank sends the same.
void GradientReducer::send_full_buckets() {
  for (; next_bucket_ < num_awaited_.size() && num_awaited_[next_bucket_] == 0; ++next_bucket_) {
    // finish() follows at once and carries the last bucket out itself: no thread need be woken.
    const bool is_last = next_bucket_ + 1 == num_awaited_.size();
    communicate([this, bucket = next_bucket_] { reduce_bucket(bucket); },
                is_last ? CommunicationThread::Start::later : CommunicationThread::Start::now);
  }
}

// On the communication thread, but on the stream of the caller, which is that of the gradients.
void GradientReducer::communicate(std::function<void()> job, CommunicationThread::Start start) {
  if (!thread_) return job();
  std::optional<c10::Stream> stream;
  const at::Device device = tensors_.front().tensor.device();
  if (!device.is_cpu()) stream = c10::impl::VirtualGuardImpl(device.type()).getStream(device);
  thread_->submit(
      [job = std::move(job), stream] {
        const c10::OptionalStreamGuard guard(stream);
        job();
      },
      start);
}

// Returns when every rank has come. Nothing of a rank's core is used up by waiting, unlike inside MPI.
void GradientReducer::meet() {
  const base::TraceSpan span("wait", "wait for the other ranks");
  const auto work = communicator_->barrier_async();
  const Work::Clock::time_point deadline = deadline_after(communicator_->timeout_seconds());
  thread_->poll([&] { return work->is_complete() || Work::Clock::now() > deadline; });
  work->wait();  // where the time is over, this says for whom
}

void GradientReducer::reduce_bucket(size_t bucket) {
  at::NoGradGuard no_grad;
  if (!thread_) {
    strategy_->start_bucket(bucket);
    ++num_buckets_summed_;
    return;
  }
  if (tensors_.front().tensor.is_cpu()) meet();
  const int64_t num_bytes = layout_.bucket(bucket).size() * static_cast<int64_t>(sizeof(float));
  const bool on_device = !tensors_.front().tensor.is_cpu();
  if (on_device) intervals_[bucket].begin_mark = communicator_->mark_time(/*behind_current=*/true);
  intervals_[bucket].begin = Clock::now();
  {
    const base::TraceSpan span("communication", "bucket",
                               {{"bucket", static_cast<int64_t>(bucket)}, {"bytes", num_bytes}});
    strategy_->start_bucket(bucket);
  }
  if (on_device) intervals_[bucket].end_mark = communicator_->mark_time(/*behind_current=*/false);
  intervals_[bucket].end = Clock::now();
  ++num_buckets_summed_;
}

void GradientReducer::complete_buckets() {
  at::NoGradGuard no_grad;
  for (size_t bucket = 0; bucket < layout_.num_buckets(); ++bucket) {
    strategy_->complete_bucket(bucket);
    intervals_[bucket].end = Clock::now();
  }
}

at::Tensor GradientReducer::finish() {
  require(num_done_ == owned_.second - owned_.first, "GradientReducer::finish on rank ", communicator_->rank(),
          ": got ", num_done_, " micro-batches, expected ", owned_.second - owned_.first);
  const base::TraceTime begin = Clock::now();
  if (thread_) {
    const base::TraceSpan span("wait", "wait for gradients");
    thread_->wait();
    times_ = measure(begin);
  }
  num_done_ = 0;
  return strategy_->result();
}

ReductionTimes GradientReducer::measure(base::TraceTime finish_begin) {
  if (backward_end_ != nullptr) return measure_on_device();
  ReductionTimes times;
  for (const Interval& interval : intervals_) {
    times.communication_ms += milliseconds(interval.begin, interval.end);
    times.exposed_ms += milliseconds(std::max(interval.begin, finish_begin), interval.end);
  }
  return times;
}

// The marks are complete but for the last few steps of their streams: every bucket was waited for.
ReductionTimes GradientReducer::measure_on_device() {
  ReductionTimes times;
  backward_end_->synchronize();
  for (Interval& interval : intervals_) {
    if (interval.begin_mark == nullptr || interval.end_mark == nullptr) continue;
    interval.end_mark->synchronize();
    const double on_way = interval.begin_mark->elapsedTime(*interval.end_mark);
    times.communication_ms += on_way;
    times.exposed_ms += std::clamp(backward_end_->elapsedTime(*interval.end_mark), 0.0, on_way);
    interval.begin_mark.reset();
    interval.end_mark.reset();
  }
  backward_end_.reset();
  return times;
}

int64_t GradientReducer::max_live_buffers() const { return strategy_->max_live_buffers(); }

void all_gather_parts(Communicator& communicator, const FlatLayout& layout, const at::Tensor& flat) {
  if (communicator.world_size() == 1) return;
  for (size_t bucket = 0; bucket < layout.num_buckets(); ++bucket) {
    std::vector<at::Tensor> parts;
    for (int rank = 0; rank < communicator.world_size(); ++rank) {
      const FlatRange part = layout.part(bucket, rank);
      parts.push_back(flat.slice(0, part.begin, part.end));
    }
    communicator.all_gather(parts[static_cast<size_t>(communicator.rank())], parts);
  }
}

}  // namespace rosa::parallel
