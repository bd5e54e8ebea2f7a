// The fast mode of GradientReducer.
#include "parallel/reduction_strategy.h"

namespace rosa::parallel {
namespace {

class BucketReduction final : public ReductionStrategy {
 public:
  BucketReduction(const ReductionContext& context, at::ScalarType wire_dtype)
      : context_(context), wire_dtype_(wire_dtype), in_flight_(context.layout.num_buckets()) {
    flat_ = at::zeros({context_.layout.length()}, context_.tensors.front().options().requires_grad(false));
    for (size_t tensor = 0; tensor < context_.tensors.size(); ++tensor) {
      const at::Tensor slice = flat_.narrow(0, context_.layout.offset(tensor), context_.layout.size(tensor));
      views_.push_back(slice.view(context_.tensors[tensor].sizes()));
    }
  }

  ~BucketReduction() override {
    for (size_t tensor = 0; tensor < views_.size(); ++tensor) {
      if (is_view(tensor)) context_.tensors[tensor].mutable_grad().reset();
    }
  }

  void begin_micro_batch(bool is_first) override {
    if (!is_first) return;
    flat_.zero_();
    for (size_t tensor = 0; tensor < views_.size(); ++tensor) {
      if (!is_view(tensor)) context_.tensors[tensor].mutable_grad() = views_[tensor];
    }
  }

  // Autograd has added to the view in place: there is nothing to move.
  void take(size_t tensor) override {
    base::require(is_view(tensor), "GradientReducer: the gradient of tensor ", tensor,
                  " was replaced during the backward, so it is no view of its bucket any more; leave grad() alone "
                  "between run_backward calls");
  }

  void end_micro_batch() override {}

  void start_bucket(size_t bucket) override {
    Communicator& communicator = context_.communicator;
    if (communicator.world_size() == 1) return;
    InFlight& flight = in_flight_[bucket];
    const FlatRange range = context_.layout.bucket(bucket);
    flight.send = flat_.slice(0, range.begin, range.end);
    if (wire_dtype_ != at::kFloat) flight.send = flight.send.to(wire_dtype_);
    flight.receive = flight.send;
    if (context_.sharded) {
      flight.receive = at::empty({range.size() / communicator.world_size()}, flight.send.options());
    }
    if (flat_.is_cpu()) {
      // All ranks are here, and the library's blocking algorithms are its fastest.
      reduce(flight, false);
      complete(bucket);
    } else {
      reduce(flight, true);
    }
  }

  void complete_bucket(size_t bucket) override {
    if (in_flight_[bucket].work) complete(bucket);
  }

  at::Tensor result() override { return flat_; }
  int64_t max_live_buffers() const override { return 1; }

 private:
  struct InFlight {
    at::Tensor send, receive;
    std::unique_ptr<Work> work;
  };

  bool is_view(size_t tensor) const {
    const at::Tensor& gradient = context_.tensors[tensor].grad();
    return gradient.defined() && gradient.data_ptr() == views_[tensor].data_ptr();
  }

  void reduce(InFlight& flight, bool async) {
    Communicator& communicator = context_.communicator;
    if (async && context_.sharded) {
      flight.work = communicator.reduce_scatter_async(flight.send, flight.receive);
    } else if (async) {
      flight.work = communicator.all_reduce_async(flight.send);
    } else if (context_.sharded) {
      flight.receive = communicator.reduce_scatter(flight.send);
    } else {
      communicator.all_reduce(flight.send);
    }
  }

  void complete(size_t bucket) {
    InFlight& flight = in_flight_[bucket];
    if (flight.work) flight.work->wait();
    const FlatRange range =
        context_.sharded ? context_.layout.part(bucket, context_.communicator.rank()) : context_.layout.bucket(bucket);
    at::Tensor target = flat_.slice(0, range.begin, range.end);
    if (target.data_ptr() != flight.receive.data_ptr()) target.copy_(flight.receive);
    flight = {};
  }

  ReductionContext context_;
  at::ScalarType wire_dtype_;
  at::Tensor flat_;
  std::vector<at::Tensor> views_;
  std::vector<InFlight> in_flight_;
};

}  // namespace

std::unique_ptr<ReductionStrategy> make_bucket_reduction(const ReductionContext& context, at::ScalarType wire_dtype) {
  return std::make_unique<BucketReduction>(context, wire_dtype);
}

}  // namespace rosa::parallel
