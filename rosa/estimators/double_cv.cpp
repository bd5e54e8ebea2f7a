// double_cv (Titsias and Shi 2022): leave-one-out with first-order expansions as control variates of the reward and of
// its baseline. The derivative of f, which a string of bits does not have, is replaced by the effects of flips at the
// other strings.
#include "rosa/estimators/stein_estimator.h"

namespace rosa {
namespace {

class DoubleCvEstimator final : public SteinEstimator {
 public:
  explicit DoubleCvEstimator(const GateEstimatorConfig& config)
      : SteinEstimator(config, SteinOperator::barker, SlopeSource::sample_flips,
                       TrainedWeights("double_cv", {0.0F, 0.0F}, config.learning_rate)) {}

 protected:
  // b = b' = 1, a' = 0: the scales alpha and beta are all there is to learn.
  void coefficients(const float* /*weights*/, const SteinInputs& /*inputs*/, std::span<float> /*room*/,
                    std::span<float> result) const override {
    const size_t length = result.size() / 3;
    for (size_t i = 0; i < result.size(); ++i) result[i] = i / length == 1 ? 0.0F : 1.0F;
  }
  void coefficients_backward(const float* /*weights*/, std::span<const float> /*room*/,
                             std::span<const float> /*result_gradient*/,
                             std::span<float> /*weight_gradient*/) const override {}
  int64_t room_size() const override { return 0; }
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_double_cv(const GateEstimatorConfig& config) {
  return std::make_unique<DoubleCvEstimator>(config);
}

}  // namespace rosa
