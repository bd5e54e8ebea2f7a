// Small gates whose strings can be enumerated, and rewards straight from the definition of the match.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "rosa/estimators/gate_estimator.h"
#include "rosa/operator/one_bit_gate.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::testing {

// [batch, length, channels] of normal numbers, the same everywhere.
inline at::Tensor normal_tensor(at::IntArrayRef shape, uint64_t seed, double scale = 1) {
  at::Tensor tensor = at::empty(shape, at::kFloat);
  base::RandomStream random({seed, 0, 0, 0, 0});
  auto* values = tensor.mutable_data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(scale * random.normal());
  return tensor;
}

// Logits of `scale` (in units of the temperature 0.2), embeddings without symmetry.
inline GateCall make_call(int64_t batch, int64_t length, int64_t channels, double scale, HostExecutor& executor,
                          uint64_t seed = 1) {
  GateCall call;
  call.x = normal_tensor({batch, length, channels}, seed, 0.2 * scale);
  call.grad_output = normal_tensor({batch, length, channels}, seed + 1);
  call.emb0 = normal_tensor({channels}, seed + 2);
  call.emb1 = normal_tensor({channels}, seed + 3);
  call.index = one_bit_gate(call.x, call.emb0, call.emb1, executor).index;
  call.stream = {seed, 3, 0, 5};
  return call;
}

// The call with its only sequence `batch` times.
inline GateCall repeat(const GateCall& call, int64_t batch) {
  GateCall result = call;
  for (at::Tensor GateCall::*tensor : {&GateCall::x, &GateCall::index, &GateCall::grad_output}) {
    result.*tensor = (call.*tensor).expand({batch, -1, -1}).contiguous();
  }
  return result;
}

inline double number(const at::Tensor& tensor, int64_t row, int64_t t, int64_t channel) {
  return tensor.index({row, t, channel}).item<double>();
}

// f of each position of a channel's string, sequence 0.
inline std::vector<double> oracle_rewards(const GateCall& call, int64_t channel, const std::vector<uint8_t>& bits) {
  const automaton::Symbols symbols(bits.begin(), bits.end());
  const auto matches = automaton::oracle_matches(symbols, symbols);
  std::vector<double> rewards(bits.size(), 0.0);
  for (size_t t = 0; t < bits.size(); ++t) {
    if (matches[t].length == 0) continue;
    const at::Tensor& embedding = bits[matches[t].position + 1] != 0 ? call.emb1 : call.emb0;
    rewards[t] = number(call.grad_output, 0, static_cast<int64_t>(t), channel) * embedding[channel].item<double>();
  }
  return rewards;
}

inline double clamped_probability(const GateCall& call, double temperature, int64_t t, int64_t channel) {
  const double p = 1 / (1 + std::exp(-number(call.x, 0, t, channel) / temperature));
  return std::min(std::max(p, 1e-4), 1 - 1e-4);
}

// double [1,T,C]: p (1 - p) (E[f | s_t = 1] - E[f | s_t = 0]) / temperature, sequence 0, by enumeration.
inline at::Tensor oracle_gradient(const GateCall& call, double temperature) {
  const int64_t length = call.x.size(1), channels = call.x.size(2);
  at::Tensor gradient = at::zeros({1, length, channels}, at::kDouble);
  for (int64_t channel = 0; channel < channels; ++channel) {
    std::vector<double> p(length);
    for (int64_t t = 0; t < length; ++t) p[t] = clamped_probability(call, temperature, t, channel);
    for (uint64_t string = 0; string < uint64_t{1} << length; ++string) {
      std::vector<uint8_t> bits(length);
      for (int64_t t = 0; t < length; ++t) bits[t] = string >> t & 1;
      double reward = 0;
      for (double value : oracle_rewards(call, channel, bits)) reward += value;
      for (int64_t t = 0; t < length; ++t) {
        double others = 1;  // probability of the string's other bits
        for (int64_t i = 0; i < length; ++i) others *= i == t ? 1 : bits[i] != 0 ? p[i] : 1 - p[i];
        gradient[0][t][channel] += p[t] * (1 - p[t]) / temperature * (bits[t] != 0 ? reward : -reward) * others;
      }
    }
  }
  return gradient;
}

// One value that a position's uniform numbers can take, as far as its bits care, and its probability.
struct UniformCell {
  std::vector<double> uniforms;
  double weight = 1;
};

// double [1,T,C]: the exact expectation of the estimator's gradient: every combination of cells of all positions and
// channels becomes a row of one call. `cells` gives those of a position by its p. `finish` changes the call before it
// is used.
inline at::Tensor expected_gradient(GateEstimator& estimator, const GateCall& call, double temperature,
                                    const std::function<std::vector<UniformCell>(double p)>& cells,
                                    HostExecutor& executor) {
  const int64_t length = call.x.size(1), channels = call.x.size(2), num_positions = length * channels;
  std::vector<std::vector<UniformCell>> of_position;
  int64_t rows = 1;
  for (int64_t i = 0; i < num_positions; ++i) {
    of_position.push_back(cells(clamped_probability(call, temperature, i / channels, i % channels)));
    rows *= static_cast<int64_t>(of_position.back().size());
  }
  const auto draws = static_cast<int64_t>(of_position[0][0].uniforms.size());
  at::Tensor uniforms = at::empty({draws, rows, length, channels}, at::kDouble);
  at::Tensor weights = at::ones({rows}, at::kDouble);
  auto* values = uniforms.mutable_data_ptr<double>();
  auto* row_weights = weights.mutable_data_ptr<double>();
  for (int64_t row = 0; row < rows; ++row) {
    int64_t rest = row;
    for (int64_t i = 0; i < num_positions; ++i) {
      const auto count = static_cast<int64_t>(of_position[i].size());
      const UniformCell& cell = of_position[i][rest % count];
      rest /= count;
      row_weights[row] *= cell.weight;
      for (int64_t draw = 0; draw < draws; ++draw)
        values[(draw * rows + row) * num_positions + i] = cell.uniforms[draw];
    }
  }
  GateCall all = repeat(call, rows);
  all.x = all.x.to(at::kDouble);
  all.uniforms = uniforms;
  const at::Tensor gradients = estimator.gradient(all, executor);
  return (gradients * weights.view({-1, 1, 1})).sum(0, /*keepdim=*/true);
}

// For strings that are each drawn by a uniform number of its own: bits 0 and 1 of each string.
inline std::vector<UniformCell> independent_cells(double p, int64_t num_samples) {
  std::vector<UniformCell> cells;
  for (int64_t combination = 0; combination < int64_t{1} << num_samples; ++combination) {
    UniformCell cell;
    for (int64_t sample = 0; sample < num_samples; ++sample) {
      const bool bit = combination >> sample & 1;
      cell.uniforms.push_back(bit ? p / 2 : (1 + p) / 2);
      cell.weight *= bit ? p : 1 - p;
    }
    cells.push_back(cell);
  }
  return cells;
}

// For antithetic pairs of one number u: between 0, p, 1 - p and 1 the bits are the same.
inline std::vector<UniformCell> pair_cells(double p) {
  const double low = std::min(p, 1 - p), high = std::max(p, 1 - p);
  std::vector<UniformCell> cells;
  for (const auto& [from, to] : {std::pair{0.0, low}, {low, high}, {high, 1.0}}) {
    if (to > from) cells.push_back({{(from + to) / 2}, to - from});
  }
  return cells;
}

inline std::unique_ptr<GateEstimator> make_estimator(const std::string& name, RewardScope scope, int64_t num_samples) {
  GateEstimatorConfig config;
  config.name = name;
  config.scope = scope;
  config.num_samples = num_samples;
  return make_gate_estimator(config);
}

// Numbers of every sign for what an estimator has learnt.
inline void set_parameters(GateEstimator& estimator, uint64_t seed) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : estimator.parameters()) {
    at::Tensor target = parameter;
    target.copy_(normal_tensor(parameter.sizes(), seed, 0.7));
  }
}

inline const std::vector<std::pair<std::string, RewardScope>>& scopes() {
  static const std::vector<std::pair<std::string, RewardScope>> all{
      {"joint", RewardScope::joint}, {"channel", RewardScope::channel}, {"causal", RewardScope::causal}};
  return all;
}

}  // namespace rosa::testing
