// The study against figures computed from the estimates themselves.
#include "rosa/estimators/variance_study.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rosa/estimators/gate_cases.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

constexpr double kTemperature = 0.2;

TEST(VarianceStudy, EnumerationEqualsTheOracle) {
  HostExecutor executor(2);
  for (double scale : {0.5, 4.0}) {
    const GateCall call = testing::make_call(1, 9, 2, scale, executor);
    testing::expect_close(enumerated_gradient(call, kTemperature, executor),
                          testing::oracle_gradient(call, kTemperature), 1e-9);
  }
  const GateCall long_call = testing::make_call(1, kMaxEnumeratedLength + 1, 1, 1, executor);
  EXPECT_THROW(enumerated_gradient(long_call, kTemperature, executor), base::ArgumentError);
}

// The variance of disarm is known exactly from its cells: second moment less squared mean.
TEST(VarianceStudy, FindsTheVarianceOfDisarm) {
  HostExecutor executor(2);
  const GateCall call = testing::make_call(1, 7, 1, 1, executor);
  const auto disarm = testing::make_estimator("disarm", RewardScope::causal, 2);
  const at::Tensor exact = enumerated_gradient(call, kTemperature, executor);
  const GradientStudy study = study_gradient(*disarm, call, exact, 4000, executor);
  // An estimator whose "gradient" is the square of disarm's has the second moment as its expectation.
  class Square : public GateEstimator {
   public:
    explicit Square(GateEstimator& base) : base_(base) {}
    double evaluations() const override { return base_.evaluations(); }
    at::Tensor gradient(const GateCall& given, HostExecutor& threads) override {
      return base_.gradient(given, threads).square();
    }

   private:
    GateEstimator& base_;
  } squared(*disarm);
  const at::Tensor moment = testing::expected_gradient(squared, call, kTemperature, testing::pair_cells, executor);
  const double variance = (moment - exact.square()).sum().item<double>();
  EXPECT_NEAR(study.variance, variance, 0.1 * variance);
  EXPECT_NEAR(study.squared_norm, exact.square().sum().item<double>(), 1e-9);
  EXPECT_NEAR(study.relative_bias(), 0, 4 * study.relative_variance() / 4000);
  EXPECT_LT(((study.mean - exact) / study.standard_error).abs().max().item<double>(), 4);
  EXPECT_EQ(study.evaluations, 2);
  EXPECT_GT(study.seconds, 0);
}

TEST(VarianceStudy, FindsBiasWithoutVariance) {
  HostExecutor executor(2);
  const GateCall call = testing::make_call(1, 9, 2, 2, executor);
  const auto mode = testing::make_estimator("flip_mode", RewardScope::causal, 2);
  const at::Tensor exact = enumerated_gradient(call, kTemperature, executor);
  const at::Tensor estimate = mode->gradient(call, executor).to(at::kDouble);
  const GradientStudy study = study_gradient(*mode, call, exact, 3, executor);
  EXPECT_LT(study.relative_variance(), 1e-12);
  EXPECT_NEAR(study.bias, (estimate - exact).square().sum().item<double>(), 1e-6 * study.bias);
  EXPECT_NEAR(study.cosine, (estimate * exact).sum().item<double>() / (estimate.norm() * exact.norm()).item<double>(),
              1e-9);
}

TEST(VarianceStudy, TheMeanOfLegApproachesTheEnumeration) {
  HostExecutor executor(2);
  const GateCall call = testing::make_call(1, 8, 2, 1, executor);
  const auto leg = testing::make_estimator("leg", RewardScope::causal, 2);
  const at::Tensor exact = enumerated_gradient(call, kTemperature, executor);
  const at::Tensor mean = mean_gradient(*leg, call, 3000, executor);
  EXPECT_TRUE(testing::is_close(mean, exact, 0.1));
  EXPECT_FALSE(testing::is_close(mean, exact, 1e-6));
}

TEST(VarianceStudy, LeavesTheEstimatorAsItWas) {
  HostExecutor executor(1);
  const GateCall call = testing::make_call(2, 8, 2, 1, executor);
  const auto rodeo = testing::make_estimator("rodeo", RewardScope::causal, 2);
  rodeo->gradient(call, executor);
  const at::Tensor parameter = rodeo->parameters()[0].second;
  const at::Tensor before = parameter.grad().clone();
  ASSERT_GT(before.abs().max().item<double>(), 0);
  const at::Tensor exact = enumerated_gradient(call, kTemperature, executor);
  const GradientStudy first = study_gradient(*rodeo, call, exact, 5, executor);
  EXPECT_TRUE(testing::is_equal(parameter.grad(), before));
  EXPECT_EQ(study_gradient(*rodeo, call, exact, 5, executor).variance, first.variance);
}

// A loss that is linear in the output is predicted exactly; a curved one is not.
TEST(VarianceStudy, Linearisation) {
  HostExecutor executor(2);
  GateCall call = testing::make_call(2, 16, 2, 1, executor);
  const auto linear = [&](const at::Tensor& output) { return (output * call.grad_output).sum().item<double>(); };
  const LinearisationStudy study = study_linearisation(call, 60, linear, executor);
  EXPECT_NEAR(study.correlation, 1, 1e-6);
  testing::expect_close(study.predicted, study.actual, 1e-5);
  EXPECT_GT(study.actual.abs().max().item<double>(), 0.1);

  const at::Tensor target = testing::normal_tensor(call.x.sizes(), 77);
  const at::Tensor output = one_bit_gate(call.x, call.emb0, call.emb1, executor).output;
  call.grad_output = 2 * (output - target);
  const LinearisationStudy curved = study_linearisation(
      call, 60, [&](const at::Tensor& out) { return (out - target).square().sum().item<double>(); }, executor);
  EXPECT_GT(curved.correlation, 0.3);
  EXPECT_LT(curved.correlation, 0.9999);
}

}  // namespace
}  // namespace rosa
