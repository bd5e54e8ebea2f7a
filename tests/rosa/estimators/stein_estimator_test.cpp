// The Stein operator by its definition, the estimators built on it against their formula with that operator, what they
// learn, and their state.
#include "rosa/estimators/stein_estimator.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "rosa/estimators/variance_study.h"
#include "tests/rosa/estimators/gate_cases.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using Bits = std::vector<uint8_t>;
using Numbers = std::vector<double>;

constexpr double kTemperature = 0.2;

// D times (A h)(s), flip by flip.
double operate(SteinOperator stein_operator, const Numbers& p, const Bits& s,
               const std::function<double(const Bits&)>& h) {
  double sum = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    Bits flipped = s;
    flipped[i] ^= 1;
    sum += stein_weight(stein_operator, p[i], s[i]) * (h(flipped) - h(s));
  }
  return sum;
}

TEST(SteinOperator, HasMeanZeroForAnyFunction) {
  constexpr size_t kLength = 8;
  for (SteinOperator stein_operator : {SteinOperator::barker, SteinOperator::mpf}) {
    base::RandomStream random({4, 0, 0, 0, 0});
    Numbers p, table;
    for (size_t t = 0; t < kLength; ++t) p.push_back(0.02 + 0.96 * random.uniform());
    for (size_t string = 0; string < size_t{1} << kLength; ++string) table.push_back(random.normal());
    const auto h = [&](const Bits& s) {
      size_t string = 0;
      for (size_t t = 0; t < kLength; ++t) string |= size_t{s[t]} << t;
      return table[string];
    };
    double mean = 0, mean_size = 0;
    for (size_t string = 0; string < table.size(); ++string) {
      Bits s(kLength);
      double probability = 1;
      for (size_t t = 0; t < kLength; ++t) {
        s[t] = string >> t & 1;
        probability *= s[t] != 0 ? p[t] : 1 - p[t];
      }
      const double value = operate(stein_operator, p, s, h);
      mean += probability * value;
      mean_size += probability * std::abs(value);
    }
    EXPECT_GT(mean_size, 0.1);
    EXPECT_LT(std::abs(mean), 1e-12 * mean_size);
  }
}

// One sequence of one channel and K given strings.
struct SteinCase {
  GateCall call;
  int64_t num_samples = 0, length = 0;
  Numbers p;
  std::vector<Bits> strings;
  Numbers hard;                  // rewards at the hard bits
  std::vector<Numbers> rewards;  // of each string, by position
  std::vector<Numbers> slopes;   // of each string

  // Sums over what the scope credits bit t with.
  double credit(const Numbers& values, RewardScope scope, int64_t t) const {
    double sum = 0;
    for (int64_t i = scope == RewardScope::causal ? t : 0; i < length; ++i) sum += values[i];
    return sum;
  }
};

// Less the mean of both embeddings', but at the first position, which retrieves nothing.
Numbers centred_rewards(const GateCall& call, const Bits& bits) {
  Numbers rewards = testing::oracle_rewards(call, 0, bits);
  const double mean = (call.emb0[0].item<double>() + call.emb1[0].item<double>()) / 2;
  for (size_t t = 1; t < bits.size(); ++t) {
    rewards[t] -= testing::number(call.grad_output, 0, static_cast<int64_t>(t), 0) * mean;
  }
  return rewards;
}

Numbers flip_effects(const GateCall& call, const Bits& bits) {
  Numbers effects;
  for (size_t t = 0; t < bits.size(); ++t) {
    double effect = 0;
    for (uint8_t value : {0, 1}) {
      Bits changed = bits;
      changed[t] = value;
      for (double reward : testing::oracle_rewards(call, 0, changed)) effect += value != 0 ? reward : -reward;
    }
    effects.push_back(effect);
  }
  return effects;
}

Numbers route_slopes(const GateCall& call, const Bits& bits) {
  const automaton::Symbols symbols(bits.begin(), bits.end());
  const auto matches = automaton::oracle_matches(symbols, symbols);
  Numbers slopes(bits.size(), 0.0);
  for (size_t t = 0; t < bits.size(); ++t) {
    if (matches[t].length == 0) continue;
    slopes[matches[t].position + 1] += testing::number(call.grad_output, 0, static_cast<int64_t>(t), 0) *
                                       (call.emb1[0].item<double>() - call.emb0[0].item<double>());
  }
  return slopes;
}

SteinCase make_case(int64_t num_samples, SlopeSource source, HostExecutor& executor, uint64_t seed) {
  constexpr int64_t kLength = 9;
  SteinCase result;
  result.call = testing::make_call(1, kLength, 1, 1.5, executor, seed);
  result.num_samples = num_samples;
  result.length = kLength;
  base::RandomStream random({seed, 9, 0, 0, 0});
  Bits hard(kLength);
  for (int64_t t = 0; t < kLength; ++t) {
    result.p.push_back(testing::clamped_probability(result.call, kTemperature, t, 0));
    hard[t] = testing::number(result.call.x, 0, t, 0) > 0;
  }
  result.hard = centred_rewards(result.call, hard);
  result.call.uniforms = at::empty({num_samples, 1, kLength, 1}, at::kDouble);
  std::vector<Numbers> own;
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    Bits bits(kLength);
    for (int64_t t = 0; t < kLength; ++t) {
      const double uniform = random.uniform();
      result.call.uniforms[sample][0][t][0] = uniform;
      bits[t] = uniform < result.p[t];
    }
    result.strings.push_back(bits);
    result.rewards.push_back(centred_rewards(result.call, bits));
    own.push_back(source == SlopeSource::routes       ? route_slopes(result.call, bits)
                  : source == SlopeSource::hard_flips ? flip_effects(result.call, hard)
                  : source == SlopeSource::none       ? Numbers(kLength, 0.0)
                                                      : flip_effects(result.call, bits));
  }
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    Numbers mean(kLength, 0.0);
    for (int64_t other = 0; other < num_samples; ++other) {
      if (other == sample) continue;
      for (int64_t t = 0; t < kLength; ++t) mean[t] += own[other][t] / static_cast<double>(num_samples - 1);
    }
    result.slopes.push_back(mean);
  }
  return result;
}

// b, a' (in units of the reward) and b' of a string at a position.
using Coefficients = std::function<std::array<double, 3>(int64_t sample, int64_t t)>;

// The formula of the header, with the operator flip by flip.
Numbers oracle_estimate(const SteinCase& given, SteinOperator stein_operator, RewardScope scope, double alpha,
                        double beta, const Coefficients& coefficients) {
  const auto lin = [&](int64_t sample, int64_t t, const Bits& s) {
    Numbers terms(given.length);
    for (int64_t i = 0; i < given.length; ++i) terms[i] = given.slopes[sample][i] * (s[i] - given.p[i]);
    return given.credit(terms, scope, t);
  };
  Numbers estimate(given.length, 0.0);
  for (int64_t t = 0; t < given.length; ++t) {
    for (int64_t k = 0; k < given.num_samples; ++k) {
      double baseline = 0;
      for (int64_t j = 0; j < given.num_samples; ++j) {
        if (j == k) continue;
        const double b = coefficients(j, t)[0];
        const auto h = [&](const Bits& s) { return b * lin(j, t, s); };
        baseline +=
            (given.credit(given.rewards[j], scope, t) + alpha * operate(stein_operator, given.p, given.strings[j], h)) /
            static_cast<double>(given.num_samples - 1);
      }
      const auto [unused, constant, linear] = coefficients(k, t);
      const auto g = [&, a = constant, b = linear](const Bits& s) {
        return (a + b * lin(k, t, s)) * (s[t] - given.p[t]);
      };
      const double reward = given.credit(given.rewards[k], scope, t);
      estimate[t] += ((reward - baseline) * (given.strings[k][t] - given.p[t]) +
                      beta * operate(stein_operator, given.p, given.strings[k], g)) /
                     static_cast<double>(given.num_samples);
    }
    estimate[t] /= kTemperature;
  }
  return estimate;
}

// rodeo's network, from the flat weights.
std::array<double, 3> network(const float* weights, int64_t width, const std::array<double, 4>& inputs) {
  const float *first = weights + 2, *first_bias = first + 4 * width, *second = first_bias + width,
              *second_bias = second + 3 * width;
  std::array<double, 3> result{second_bias[0], second_bias[1], second_bias[2]};
  for (int64_t unit = 0; unit < width; ++unit) {
    double value = first_bias[unit];
    for (int64_t input = 0; input < 4; ++input) value += first[unit * 4 + input] * inputs[input];
    value = value > 0 ? value : 0.1 * value;
    for (int64_t output = 0; output < 3; ++output) result[output] += second[output * width + unit] * value;
  }
  return result;
}

Coefficients network_coefficients(const SteinCase& given, const float* weights, int64_t width, RewardScope scope,
                                  bool has_slopes) {
  return [&given, weights, width, scope, has_slopes](int64_t sample, int64_t t) {
    Numbers squares(given.length, 0.0);
    for (int64_t i = 0; i < given.length; ++i) {
      const double half = (given.call.emb1[0].item<double>() - given.call.emb0[0].item<double>()) / 2;
      if (i > 0) squares[i] = std::pow(testing::number(given.call.grad_output, 0, i, 0) * half, 2);
    }
    const double scale = std::sqrt(given.credit(squares, scope, t));
    double others = 0;
    for (int64_t j = 0; j < given.num_samples; ++j) {
      if (j != sample) others += given.credit(given.rewards[j], scope, t) / static_cast<double>(given.num_samples - 1);
    }
    auto result = network(weights, width,
                          {others / scale, given.credit(given.hard, scope, t) / scale, std::abs(2 * given.p[t] - 1),
                           has_slopes ? given.slopes[sample][t] / scale : 0.0});
    result[1] *= scale;
    return result;
  };
}

void expect_estimate(GateEstimator& estimator, const SteinCase& given, const Numbers& expected, HostExecutor& executor,
                     const std::string& what) {
  const at::Tensor wanted =
      at::from_blob(const_cast<double*>(expected.data()), {1, given.length, 1}, at::kDouble).clone();
  testing::expect_close(estimator.gradient(given.call, executor), wanted, 2e-6, what);
}

TEST(SteinEstimator, RodeoEqualsItsFormula) {
  HostExecutor executor(1);
  const std::vector<std::pair<RodeoSlopes, SlopeSource>> sources{{RodeoSlopes::none, SlopeSource::none},
                                                                 {RodeoSlopes::routes, SlopeSource::routes},
                                                                 {RodeoSlopes::flips, SlopeSource::hard_flips}};
  for (const auto& [scope_name, scope] : testing::scopes()) {
    for (SteinOperator stein_operator : {SteinOperator::barker, SteinOperator::mpf}) {
      for (const auto& [slopes, source] : sources) {
        for (int64_t num_samples : {2, 4}) {
          GateEstimatorConfig config;
          config.name = "rodeo";
          config.scope = scope;
          config.num_samples = num_samples;
          config.rodeo = {stein_operator, slopes, 5, 1};
          const auto estimator = make_gate_estimator(config);
          testing::set_parameters(*estimator, 8);
          const auto* weights = estimator->parameters()[0].second.const_data_ptr<float>();
          const SteinCase given = make_case(num_samples, source, executor, 31);
          const Numbers expected =
              oracle_estimate(given, stein_operator, scope, weights[0], weights[1],
                              network_coefficients(given, weights, 5, scope, slopes != RodeoSlopes::none));
          expect_estimate(*estimator, given, expected, executor, scope_name);
        }
      }
    }
  }
}

TEST(SteinEstimator, DoubleCvEqualsItsFormula) {
  HostExecutor executor(1);
  for (const auto& [scope_name, scope] : testing::scopes()) {
    const auto estimator = testing::make_estimator("double_cv", scope, 2);
    testing::set_parameters(*estimator, 8);
    const auto* weights = estimator->parameters()[0].second.const_data_ptr<float>();
    const SteinCase given = make_case(2, SlopeSource::sample_flips, executor, 31);
    const Numbers expected =
        oracle_estimate(given, SteinOperator::barker, scope, weights[0], weights[1], [](int64_t, int64_t) {
          return std::array{1.0, 0.0, 1.0};
        });
    expect_estimate(*estimator, given, expected, executor, scope_name);
  }
}

// Untrained, both are plain leave-one-out.
TEST(SteinEstimator, StartsAsLeaveOneOut) {
  HostExecutor executor(2);
  const GateCall call = testing::make_call(3, 20, 2, 1, executor);
  for (const auto& [scope_name, scope] : testing::scopes()) {
    const at::Tensor expected = testing::make_estimator("rloo", scope, 3)->gradient(call, executor);
    for (const char* name : {"rodeo", "double_cv"}) {
      testing::expect_close(testing::make_estimator(name, scope, 3)->gradient(call, executor), expected, 1e-6, name);
    }
  }
}

// The mean square of the estimate of logits, relative to the rewards' size, as the estimators mean it.
double mean_square(GateEstimator& estimator, const GateCall& call, HostExecutor& executor) {
  const at::Tensor gradient = estimator.gradient(call, executor).to(at::kDouble) * kTemperature;
  const at::Tensor half = (call.emb1 - call.emb0).to(at::kDouble) / 2;
  const at::Tensor squares = (call.grad_output.to(at::kDouble) * half).square().narrow(1, 1, 16).sum(1);  // [B,C]
  return (gradient.square().mean(1) / squares).sum().item<double>();
}

TEST(SteinEstimator, GradientsOfItsParametersAreThoseOfTheMeanSquare) {
  HostExecutor executor(2);
  GateCall call = testing::make_call(3, 17, 2, 1, executor);
  call.x = call.x.to(at::kDouble);
  for (const char* name : {"rodeo", "double_cv"}) {
    for (RewardScope scope : {RewardScope::channel, RewardScope::causal}) {
      GateEstimatorConfig config;
      config.name = name;
      config.scope = scope;
      config.num_samples = 3;
      config.rodeo.train_every = 1;
      const auto estimator = make_gate_estimator(config);
      testing::set_parameters(*estimator, 12);
      estimator->gradient(call, executor);
      const at::Tensor parameter = estimator->parameters()[0].second;
      const at::Tensor gradient = parameter.grad().clone();
      auto* weights = parameter.mutable_data_ptr<float>();
      for (int64_t i = 0; i < parameter.numel(); ++i) {
        const float before = weights[i], step = 5e-4F;
        weights[i] = before + step;
        const double above = mean_square(*estimator, call, executor);
        weights[i] = before - step;
        const double below = mean_square(*estimator, call, executor);
        weights[i] = before;
        const double expected = (above - below) / (2 * static_cast<double>(step));
        EXPECT_NEAR(gradient[i].item<double>(), expected, 4e-3 * gradient.abs().max().item<double>())
            << name << " weight " << i;
      }
    }
  }
}

// On fresh calls; the figures of longer training are in bench/results.
TEST(SteinEstimator, RodeoLearnsToHaveLessVariance) {
  HostExecutor executor(2);
  const auto rodeo = testing::make_estimator("rodeo", RewardScope::channel, 2);
  const auto disarm = testing::make_estimator("disarm", RewardScope::channel, 2);
  const auto square = [&](GateEstimator& estimator, const GateCall& call) {
    return estimator.gradient(call, executor).square().sum().item<double>();
  };
  double untrained = 0, trained = 0, of_disarm = 0;
  constexpr int64_t kRows = 16, kUpdates = 250;
  for (uint64_t step = 0; step < kUpdates + 50; ++step) {
    const GateCall call = testing::make_call(kRows, 24, 4, 2, executor, 100 + 10 * step);
    const double value = square(*rodeo, call);
    if (step < 50) untrained += value;
    if (step >= kUpdates) {
      trained += value;
      of_disarm += square(*disarm, call);
    } else {
      rodeo->update(kRows);
    }
  }
  EXPECT_LT(trained, of_disarm / 1.25);
  EXPECT_LT(trained, untrained);
}

TEST(SteinEstimator, StateGoesOnAsBefore) {
  HostExecutor executor(2);
  for (const char* name : {"rodeo", "double_cv"}) {
    const auto first = testing::make_estimator(name, RewardScope::causal, 2);
    const auto second = testing::make_estimator(name, RewardScope::causal, 2);
    const auto step = [&](GateEstimator& estimator, uint64_t number) {
      const GateCall call = testing::make_call(4, 16, 2, 1, executor, number);
      const at::Tensor gradient = estimator.gradient(call, executor);
      estimator.update(4);
      return gradient;
    };
    for (uint64_t number = 1; number < 5; ++number) step(*first, number);
    second->load_state(first->save_state());
    for (uint64_t number = 5; number < 8; ++number) {
      EXPECT_TRUE(testing::is_equal(step(*second, number), step(*first, number))) << name << number;
    }
    EXPECT_TRUE(testing::is_equal(second->parameters()[0].second, first->parameters()[0].second));
    EXPECT_FALSE(testing::is_equal(testing::make_estimator(name, RewardScope::causal, 2)->parameters()[0].second,
                                   first->parameters()[0].second));
  }
  const auto rodeo = testing::make_estimator("rodeo", RewardScope::causal, 2);
  EXPECT_THROW(rodeo->load_state({}), base::CheckpointError);
  EXPECT_THROW(rodeo->load_state(testing::make_estimator("double_cv", RewardScope::causal, 2)->save_state()),
               base::CheckpointError);
  EXPECT_THROW(testing::make_estimator("leg", RewardScope::causal, 2)->load_state(rodeo->save_state()),
               base::CheckpointError);
}

}  // namespace
}  // namespace rosa
