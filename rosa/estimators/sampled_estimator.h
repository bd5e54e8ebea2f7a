// SampledEstimator: what the estimators that draw strings and weigh their rewards share. A derived class says how
// strings are drawn and weighed; it may add tracks, quantities per position that are credited as rewards are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rosa/estimators/gate_problem.h"

namespace rosa {

// What belongs to one row.
struct ChannelSamples {
  int64_t num_samples = 0, length = 0;
  std::span<uint8_t> bits;   // [num_samples, length]: the strings
  std::span<double> tracks;  // [num_samples + extra tracks, length]: first the rewards of the strings. After crediting,
                             // position t holds the sum over what the scope credits bit t with
  std::span<double> locals;  // [locals, length]: numbers of the row's own

  std::span<uint8_t> sample_bits(int64_t sample) const { return bits.subspan(sample * length, length); }
  std::span<double> track(int64_t number) const { return tracks.subspan(number * length, length); }
  std::span<double> local(int64_t number) const { return locals.subspan(number * length, length); }
};

class SampledEstimator : public GateEstimator {
 public:
  at::Tensor gradient(const GateCall& call, HostExecutor& executor) override;

  struct Shape {
    RewardScope scope = RewardScope::causal;
    double temperature = 1;
    int64_t num_samples = 0, num_extra_tracks = 0, num_locals = 0;
  };

 protected:
  explicit SampledEstimator(const Shape& shape) : shape_(shape) {}

  const Shape& shape() const { return shape_; }

  // Called on the calling thread, before the rows and after them.
  virtual void begin(GateProblem& /*problem*/) {}
  virtual void finish() {}

  // The next four are called by many threads at once, for different rows.
  // Draws all strings of a row.
  virtual void draw(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                    const ChannelSamples& samples) const = 0;
  // Called after the evaluation of each string, whose matches the worker still knows.
  virtual void evaluated(GateWorker& /*worker*/, const ChannelSamples& /*samples*/, int64_t /*sample*/) const {}
  // Writes the extra tracks, all strings being evaluated and nothing credited yet.
  virtual void add_tracks(const GateProblem& /*problem*/, const GateChannel& /*channel*/, GateWorker& /*worker*/,
                          const ChannelSamples& /*samples*/) const {}
  // Writes the gradient of the channel's logits.
  virtual void weigh(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples) = 0;

  // Slots of GateWorker::numbers and bits that derived classes may use: this and all after it.
  static constexpr size_t kFreeSlot = 2;

 private:
  int64_t num_tracks() const { return shape_.num_samples + shape_.num_extra_tracks; }
  void evaluate_row(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                    const ChannelSamples& samples) const;
  void joint_gradient(const GateProblem& problem, HostExecutor& executor);

  Shape shape_;
  GateWorkers workers_;
};

}  // namespace rosa
