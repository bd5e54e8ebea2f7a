// rloo (REINFORCE leave-one-out): independent strings; each one's reward against the mean of the others'.
#include "rosa/estimators/draws.h"
#include "rosa/estimators/sampled_estimator.h"

namespace rosa {
namespace {

class RlooEstimator final : public SampledEstimator {
 public:
  explicit RlooEstimator(const GateEstimatorConfig& config)
      : SampledEstimator({config.scope, config.temperature, config.num_samples}) {}

  double evaluations() const override { return static_cast<double>(shape().num_samples); }

 protected:
  void draw(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
            const ChannelSamples& samples) const override {
    draw_independent(problem, channel, worker.numbers(kFreeSlot, samples.length), samples);
  }

  void weigh(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples) override {
    leave_one_out(channel, worker.numbers(kFreeSlot, samples.length), samples);
  }
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_rloo(const GateEstimatorConfig& config) {
  require_several_samples(config);
  return std::make_unique<RlooEstimator>(config);
}

}  // namespace rosa
