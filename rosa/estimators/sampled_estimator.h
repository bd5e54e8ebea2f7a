// SampledEstimator: what disarm, rloo and arms share. They draw strings, evaluate each, and weigh the rewards; a
// derived class says how strings are drawn and weighed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rosa/estimators/gate_problem.h"

namespace rosa {

// The strings drawn for one row, sample after sample.
struct ChannelSamples {
  int64_t num_samples = 0, length = 0;
  std::span<uint8_t> bits;    // [num_samples, length]
  std::span<double> rewards;  // [num_samples, length]: the reward that each bit is credited with, in the scope

  std::span<uint8_t> sample_bits(int64_t sample) const { return bits.subspan(sample * length, length); }
  std::span<double> sample_rewards(int64_t sample) const { return rewards.subspan(sample * length, length); }
};

// Turns the rewards of each position into what the scope credits the bit there with; of joint, only the channel's part.
void credit_rewards(RewardScope scope, std::span<double> rewards);

class SampledEstimator : public GateEstimator {
 public:
  double evaluations() const override { return static_cast<double>(num_samples_); }
  at::Tensor gradient(const GateCall& call, HostExecutor& executor) override;

 protected:
  SampledEstimator(RewardScope scope, int64_t num_samples, double temperature);

  // Draws all strings of a row.
  virtual void draw(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                    const ChannelSamples& samples) const = 0;
  // Writes the gradient of the channel's logits.
  virtual void weigh(const GateChannel& channel, const ChannelSamples& samples) const = 0;

  // Room of GateWorker::numbers and bits that derived classes may use, from these slots on.
  static constexpr size_t kFreeSlot = 1;

 private:
  void evaluate_row(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                    const ChannelSamples& samples) const;
  void joint_gradient(const GateProblem& problem, HostExecutor& executor);

  RewardScope scope_;
  int64_t num_samples_;
  double temperature_;
  GateWorkers workers_;
};

}  // namespace rosa
