// disarm (DisARM, also known as U2G): antithetic pairs; a bit learns from the pairs in which it differs.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "rosa/estimators/draws.h"
#include "rosa/estimators/sampled_estimator.h"

namespace rosa {
namespace {

class DisarmEstimator final : public SampledEstimator {
 public:
  explicit DisarmEstimator(const GateEstimatorConfig& config)
      : SampledEstimator({config.scope, config.temperature, config.num_samples}),
        fastrosa_(config.compatible == "fastrosa") {}

  double evaluations() const override { return static_cast<double>(shape().num_samples); }

 protected:
  void draw(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
            const ChannelSamples& samples) const override {
    draw_pairs(problem, channel, worker.numbers(kFreeSlot, samples.length), samples);
  }

  void weigh(const GateChannel& channel, GateWorker& /*worker*/, const ChannelSamples& samples) override {
    for (int64_t sample = 0; sample < samples.num_samples; sample += 2) {
      const std::span<const uint8_t> bits = samples.sample_bits(sample), others = samples.sample_bits(sample + 1);
      const std::span<const double> rewards = samples.track(sample), other_rewards = samples.track(sample + 1);
      for (int64_t t = 0; t < samples.length; ++t) {
        channel.gradient[t] += (rewards[t] - other_rewards[t]) * (bits[t] - others[t]);
      }
    }
    const double mean = 1 / static_cast<double>(samples.num_samples);  // a half for each pair
    for (int64_t t = 0; t < samples.length; ++t) {
      const double p = channel.probability[t];
      channel.gradient[t] *= fastrosa_ ? mean : mean * std::max(p, 1 - p);
    }
  }

 private:
  bool fastrosa_;
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_disarm(const GateEstimatorConfig& config) {
  base::require<base::ConfigError>(config.num_samples % 2 == 0, "gate estimator disarm: got num_samples ",
                                   config.num_samples, ", expected an even number, since strings come in pairs");
  return std::make_unique<DisarmEstimator>(config);
}

}  // namespace rosa
