// The expectation of every estimator, exactly, by enumeration of all strings that it can draw, and with its own random
// numbers.
#include <gtest/gtest.h>

#include "rosa/estimators/variance_study.h"
#include "tests/rosa/estimators/gate_cases.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using testing::expect_close;

constexpr double kTemperature = 0.2, kTolerance = 1e-9;

class Unbiasedness : public ::testing::Test {
 protected:
  // One channel of `length` bits, and two of half as many.
  void check(GateEstimator& estimator, const std::function<std::vector<testing::UniformCell>(double)>& cells,
             const std::string& what, int64_t length = 6) {
    for (double scale : {0.5, 3.0}) {
      for (const auto& [size, channels] : {std::pair{length, int64_t{1}}, {length / 2, int64_t{2}}}) {
        const GateCall call = testing::make_call(1, size, channels, scale, executor_, 17);
        expect_close(testing::expected_gradient(estimator, call, kTemperature, cells, executor_),
                     testing::oracle_gradient(call, kTemperature), kTolerance,
                     what + " scale " + std::to_string(scale) + " channels " + std::to_string(channels));
      }
    }
  }

  HostExecutor executor_{2};
};

TEST_F(Unbiasedness, Leg) {
  GateEstimatorConfig config;
  config.name = "leg";
  check(*make_gate_estimator(config), testing::pair_cells, "antithetic", 8);
  config.antithetic = false;
  config.num_samples = 1;
  check(
      *make_gate_estimator(config), [](double p) { return testing::independent_cells(p, 1); }, "one", 10);
  config.num_samples = 2;
  check(
      *make_gate_estimator(config), [](double p) { return testing::independent_cells(p, 2); }, "two");
}

TEST_F(Unbiasedness, Disarm) {
  for (const auto& [name, scope] : testing::scopes()) {
    check(*testing::make_estimator("disarm", scope, 2), testing::pair_cells, name, 8);
  }
}

TEST_F(Unbiasedness, FastrosasDisarmIsTheGradientDividedByTheLargerProbability) {
  GateEstimatorConfig config;
  config.name = "disarm";
  config.compatible = "fastrosa";
  for (const auto& [name, scope] : testing::scopes()) {
    config.scope = scope;
    const GateCall call = testing::make_call(1, 4, 2, 1, executor_, 5);
    at::Tensor expected = testing::oracle_gradient(call, kTemperature);
    for (int64_t t = 0; t < 4; ++t) {
      for (int64_t channel = 0; channel < 2; ++channel) {
        const double p = testing::clamped_probability(call, kTemperature, t, channel);
        expected[0][t][channel] /= std::max(p, 1 - p);
      }
    }
    expect_close(
        testing::expected_gradient(*make_gate_estimator(config), call, kTemperature, testing::pair_cells, executor_),
        expected, kTolerance, name);
  }
}

TEST_F(Unbiasedness, Rloo) {
  for (const auto& [name, scope] : testing::scopes()) {
    check(
        *testing::make_estimator("rloo", scope, 2), [](double p) { return testing::independent_cells(p, 2); }, name);
    check(
        *testing::make_estimator("rloo", scope, 3), [](double p) { return testing::independent_cells(p, 3); }, name, 4);
  }
}

// Two strings: what is uniform on the simplex is one number and the rest, so that the cells are disarm's.
TEST_F(Unbiasedness, ArmsOfTwo) {
  for (const auto& [name, scope] : testing::scopes()) {
    check(*testing::make_estimator("arms", scope, 2), testing::pair_cells, name, 8);
  }
}

TEST_F(Unbiasedness, Rodeo) {
  for (SteinOperator stein_operator : {SteinOperator::barker, SteinOperator::mpf}) {
    for (RodeoSlopes slopes : {RodeoSlopes::none, RodeoSlopes::routes, RodeoSlopes::flips}) {
      for (const auto& [name, scope] : testing::scopes()) {
        GateEstimatorConfig config;
        config.name = "rodeo";
        config.scope = scope;
        config.rodeo.stein_operator = stein_operator;
        config.rodeo.slopes = slopes;
        for (int64_t num_samples : {2, 3}) {
          config.num_samples = num_samples;
          const auto estimator = make_gate_estimator(config);
          testing::set_parameters(*estimator, 3);
          check(
              *estimator, [&](double p) { return testing::independent_cells(p, num_samples); }, name,
              num_samples == 2 ? 6 : 4);
        }
      }
    }
  }
}

TEST_F(Unbiasedness, DoubleCv) {
  for (const auto& [name, scope] : testing::scopes()) {
    for (int64_t num_samples : {2, 3}) {
      const auto estimator = testing::make_estimator("double_cv", scope, num_samples);
      testing::set_parameters(*estimator, 3);
      check(
          *estimator, [&](double p) { return testing::independent_cells(p, num_samples); }, name,
          num_samples == 2 ? 6 : 4);
    }
  }
}

// With the random numbers of the stream: |z| < 4 in every element of 6000 estimates.
TEST_F(Unbiasedness, OfTheStreamsOwnNumbers) {
  constexpr int64_t kRows = 2000, kSteps = 3;
  const GateCall call = testing::make_call(1, 7, 2, 1.5, executor_, 23);
  const at::Tensor exact = testing::oracle_gradient(call, kTemperature);
  const std::vector<std::pair<std::string, int64_t>> estimators{
      {"leg", 2},  {"disarm", 2}, {"disarm", 6}, {"rloo", 4},  {"arms", 2},
      {"arms", 3}, {"arms", 5},   {"rodeo", 2},  {"rodeo", 4}, {"double_cv", 2}};
  for (const auto& [name, num_samples] : estimators) {
    for (const auto& [scope_name, scope] : testing::scopes()) {
      const auto estimator = testing::make_estimator(name, scope, num_samples);
      testing::set_parameters(*estimator, 11);
      std::vector<at::Tensor> gradients;
      for (int64_t step = 0; step < kSteps; ++step) {
        GateCall many = testing::repeat(call, kRows);
        many.stream.step = static_cast<uint64_t>(step);
        gradients.push_back(estimator->gradient(many, executor_).to(at::kDouble));
      }
      const at::Tensor all = at::cat(gradients);
      const at::Tensor error = all.std(0) / std::sqrt(static_cast<double>(kRows * kSteps));
      const double z = ((all.mean(0) - exact[0]) / error).abs().max().item<double>();
      EXPECT_LT(z, 4) << name << " " << num_samples << " " << scope_name;
      EXPECT_GT(z, 0.01) << name << " " << num_samples << " " << scope_name;
    }
  }
}

// What is biased is found to be: the tests above can fail.
TEST_F(Unbiasedness, FlipAtTheModeIsBiased) {
  const GateCall call = testing::make_call(1, 7, 2, 1.5, executor_, 23);
  const auto estimator = testing::make_estimator("flip_mode", RewardScope::causal, 2);
  EXPECT_FALSE(
      testing::is_close(estimator->gradient(call, executor_), testing::oracle_gradient(call, kTemperature), 0.1));
}

}  // namespace
}  // namespace rosa
