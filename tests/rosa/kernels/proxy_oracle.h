// SUFA and soft ROSA by their definitions in float64, for the tests of every fused form. Quadratic in time.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "rosa/kernels/proxy_rows.h"
#include "rosa/kernels/soft_rosa.h"
#include "rosa/kernels/sufa.h"

namespace rosa::kernels::testing {

constexpr int64_t kNoLimit = int64_t{1} << 40;

// `heads` query heads on one key/value head, one document.
struct ProxyCase {
  int64_t heads = 1, length = 1, query_bits = 8, value_bits = 8;
  int64_t num_symbols = 16;  // SUFA only
  int64_t max_distance = kNoLimit;
  float scale = 0.09F;               // of SUFA's scores
  float bits_tau = 1, attn_tau = 1;  // soft ROSA only
  bool bias = true;
  std::string input = "random";  // random | constant | saturated | runs
  uint64_t seed = 7;
  int64_t num_hidden = 0;  // SUFA only

  std::string text() const {
    return input + ", length " + std::to_string(length) + ", bits " + std::to_string(query_bits) + " and " +
           std::to_string(value_bits) + ", symbols " + std::to_string(num_symbols) + ", distance " +
           std::to_string(max_distance) + ", hidden " + std::to_string(num_hidden);
  }
};

// [head][t][bit]; keys and values have one head.
struct ProxyArrays {
  std::vector<double> query, key, value, output, grad_output, grad_query, grad_key, grad_value;
};

inline std::vector<float> to_floats(const std::vector<double>& values) {
  return std::vector<float>(values.begin(), values.end());
}

// Inputs after tanh and sigmoid that float32 holds exactly; outputs 0. runs: saturated logits, equal for about 50 rows.
inline ProxyArrays make_arrays(const ProxyCase& c) {
  std::mt19937_64 random(c.seed);
  std::normal_distribution<float> normal;
  const auto fill = [&](int64_t rows, int64_t bits, bool logits) {
    std::vector<double> values(static_cast<size_t>(rows * bits));
    for (int64_t i = 0; i < rows * bits; ++i) {
      float x = normal(random);
      if (logits && c.input == "constant") x = 0.7F;
      if (logits && (c.input == "saturated" || c.input == "runs")) x = x > 0 ? 30.0F : -30.0F;
      if (logits && c.input == "runs" && i >= bits && random() % 50 != 0) x = 0;  // as the row before
      values[static_cast<size_t>(i)] =
          logits && x == 0 ? values[static_cast<size_t>(i - bits)] : static_cast<double>(logits ? std::tanh(x) : x);
    }
    return values;
  };
  ProxyArrays arrays;
  arrays.query = fill(c.heads * c.length, c.query_bits, true);
  arrays.key = fill(c.length, c.query_bits, true);
  arrays.value = fill(c.length, c.value_bits, false);
  for (double& value : arrays.value) value = static_cast<float>(1 / (1 + std::exp(-value)));
  arrays.grad_output = fill(c.heads * c.length, c.value_bits, false);
  arrays.output.resize(arrays.grad_output.size());
  arrays.grad_query.resize(arrays.query.size());
  arrays.grad_key.resize(arrays.key.size());
  arrays.grad_value.resize(arrays.value.size());
  return arrays;
}

inline std::vector<float> make_bias(const ProxyCase& c, double divisor) {
  std::vector<float> bias(static_cast<size_t>(padded_length(c.length)), 0.0F);
  for (int64_t delta = 0; c.bias && delta < c.length; ++delta) {
    bias[static_cast<size_t>(delta)] = static_cast<float>(std::exp(-static_cast<double>(delta + 1) / 8192) / divisor);
  }
  return bias;
}

inline SufaProblem sufa_problem(const ProxyCase& c, const std::vector<float>& bias) {
  return {c.heads,        c.length, c.query_bits, c.value_bits, c.num_symbols,
          c.max_distance, c.scale,  bias.data(),  c.num_hidden};
}

inline SoftRosaProblem soft_rosa_problem(const ProxyCase& c, const std::vector<float>& bias) {
  const float offset = static_cast<float>(c.query_bits - 1) * (1 - c.bits_tau) / c.bits_tau;
  return {c.heads,        c.length, c.query_bits,     c.value_bits, c.max_distance,
          1 / c.bits_tau, offset,   1.0 / c.attn_tau, bias.data()};
}

inline double dot(const ProxyCase& c, const ProxyArrays& arrays, int64_t head, int64_t t, int64_t i) {
  const double* query = &arrays.query[static_cast<size_t>((head * c.length + t) * c.query_bits)];
  const double* key = &arrays.key[static_cast<size_t>(i * c.query_bits)];
  double sum = 0;
  for (int64_t d = 0; d < c.query_bits; ++d) sum += query[d] * key[d];
  return sum;
}

inline void add_dot_gradient(const ProxyCase& c, ProxyArrays& arrays, int64_t head, int64_t t, int64_t i,
                             double gradient) {
  const size_t q = static_cast<size_t>((head * c.length + t) * c.query_bits);
  const size_t k = static_cast<size_t>(i * c.query_bits);
  for (size_t d = 0; d < static_cast<size_t>(c.query_bits); ++d) {
    arrays.grad_query[q + d] += gradient * arrays.key[k + d];
    arrays.grad_key[k + d] += gradient * arrays.query[q + d];
  }
}

// SUFA's row `t` of `head`: fills its output; with `gradients` adds what it gives to the gradients.
inline void sufa_oracle_row(const ProxyCase& c, const std::vector<float>& bias, int64_t head, int64_t t, bool gradients,
                            ProxyArrays& arrays) {
  const int64_t first = std::max<int64_t>(c.num_hidden, t - c.max_distance + 1);
  if (first > t) return;  // the outputs are 0
  std::vector<double> weights, grad_weights;
  for (int64_t j = first; j <= t; ++j) {
    double score = 0;
    for (int64_t w = 0; w < c.num_symbols && j - 1 - w >= 0; ++w) score += dot(c, arrays, head, t - w, j - 1 - w);
    weights.push_back(score * c.scale + bias[static_cast<size_t>(t - j)]);
  }
  const double best = *std::max_element(weights.begin(), weights.end());
  double total = 0, mean = 0;
  for (double& weight : weights) total += weight = std::exp(weight - best);
  const size_t row = static_cast<size_t>((head * c.length + t) * c.value_bits);
  const size_t bits = static_cast<size_t>(c.value_bits);
  std::fill_n(arrays.output.begin() + static_cast<int64_t>(row), c.value_bits, 0.0);
  for (int64_t j = first; j <= t; ++j) {
    const double weight = weights[static_cast<size_t>(j - first)] /= total;
    const size_t at = static_cast<size_t>(j * c.value_bits);
    double grad = 0;
    for (size_t m = 0; m < bits; ++m) {
      arrays.output[row + m] += weight * arrays.value[at + m];
      if (gradients) arrays.grad_value[at + m] += weight * arrays.grad_output[row + m];
      grad += arrays.grad_output[row + m] * arrays.value[at + m];
    }
    grad_weights.push_back(grad);
    mean += weight * grad;
  }
  for (int64_t j = first; gradients && j <= t; ++j) {
    const size_t n = static_cast<size_t>(j - first);
    const double gradient = weights[n] * (grad_weights[n] - mean) * c.scale;
    for (int64_t w = 0; w < c.num_symbols && j - 1 - w >= 0; ++w) {
      add_dot_gradient(c, arrays, head, t - w, j - 1 - w, gradient);
    }
  }
}

inline void sufa_oracle(const ProxyCase& c, const std::vector<float>& bias, ProxyArrays& arrays) {
  for (int64_t head = 0; head < c.heads; ++head) {
    for (int64_t t = 0; t < c.length; ++t) sufa_oracle_row(c, bias, head, t, true, arrays);
  }
}

inline double agreement(const SoftRosaProblem& p, const ProxyCase& c, const ProxyArrays& arrays, int64_t head,
                        int64_t t, int64_t i) {
  if (t - i >= c.max_distance) return 0;
  const double logit = static_cast<double>(p.bits_scale) * dot(c, arrays, head, t, i) - p.bits_offset;
  return 1 / (1 + std::exp(-logit));
}

// One head of soft ROSA, rows first_row and later: their outputs, and what they give to the gradients. The diagonals'
// sums are walked three times, so that memory is O(T).
class SoftRosaOracle {
 public:
  SoftRosaOracle(const ProxyCase& c, const std::vector<float>& bias, int64_t head, int64_t first_row,
                 ProxyArrays& arrays)
      : c_(c),
        p_(soft_rosa_problem(c, bias)),
        bias_(bias),
        head_(head),
        first_row_(first_row),
        arrays_(arrays),
        rows_(size(c.length)) {}

  void run(bool gradients) {
    for_each_cell([&](int64_t t, int64_t delta, double run) { see_logit(t, delta, run); });
    for_each_cell([&](int64_t t, int64_t delta, double run) { add_value(t, delta, run); });
    for (int64_t t = first_row_; t < c_.length; ++t) finish_row(t);
    if (!gradients) return;
    for (int64_t delta = 0; delta < c_.length; ++delta) diagonal_gradients(delta);
  }

 private:
  struct Row {
    double best_logit = -1e300, best_run = -1, total = 0, confidence = 0, mean = 0, grad_best_run = 0;
    int64_t best_delta = 0;
    std::vector<double> mixed;
  };
  static size_t size(int64_t count) { return static_cast<size_t>(count); }

  double logit(int64_t delta, double run) const { return p_.logit_scale * run + bias_[size(delta)]; }

  template <class Body>
  void for_each_cell(const Body& body) {
    for (int64_t delta = 0; delta < c_.length; ++delta) {
      double total = 0, best = 0;
      if (delta >= first_row_) body(delta, delta, 0.0);  // S(t, 0)
      const bool has_cells = delta + 1 < c_.max_distance;
      for (int64_t t = has_cells ? delta + 1 : std::max(delta + 1, first_row_); t < c_.length; ++t) {
        const double a = agreement(p_, c_, arrays_, head_, t, t - 1 - delta);
        total += a;
        best = std::max(best, total * (1 - a));
        if (t >= first_row_) body(t, delta, total - best);
      }
    }
  }

  void see_logit(int64_t t, int64_t delta, double run) {
    Row& row = rows_[size(t)];
    row.best_logit = std::max(row.best_logit, logit(delta, run));
    if (run > row.best_run) {
      row.best_run = run;
      row.best_delta = delta;
    }
  }

  void add_value(int64_t t, int64_t delta, double run) {
    Row& row = rows_[size(t)];
    row.mixed.resize(size(c_.value_bits));
    const double weight = std::exp(logit(delta, run) - row.best_logit);
    row.total += weight;
    for (int64_t m = 0; m < c_.value_bits; ++m) {
      row.mixed[size(m)] += weight * arrays_.value[size((t - delta) * c_.value_bits + m)];
    }
  }

  void finish_row(int64_t t) {
    Row& row = rows_[size(t)];
    row.confidence = std::min(1.0, row.best_run);
    double grad = 0;
    for (int64_t m = 0; m < c_.value_bits; ++m) {
      const size_t at = size((head_ * c_.length + t) * c_.value_bits + m);
      row.mixed[size(m)] /= row.total;
      arrays_.output[at] = row.mixed[size(m)] * row.confidence;
      grad += row.mixed[size(m)] * arrays_.grad_output[at];
    }
    row.mean = grad * row.confidence;
    row.grad_best_run = row.best_run <= 1 ? grad : 0;
  }

  // The gradient of S at a cell; adds what the cell gives to grad_value.
  double run_gradient(int64_t t, int64_t delta, double run) {
    const Row& row = rows_[size(t)];
    const double weight = std::exp(logit(delta, run) - row.best_logit) / row.total;
    double grad = 0;
    for (int64_t m = 0; m < c_.value_bits; ++m) {
      const double upstream = arrays_.grad_output[size((head_ * c_.length + t) * c_.value_bits + m)] * row.confidence;
      const size_t at = size((t - delta) * c_.value_bits + m);
      grad += upstream * arrays_.value[at];
      arrays_.grad_value[at] += upstream * weight;
    }
    return weight * (grad - row.mean) * p_.logit_scale + (delta == row.best_delta ? row.grad_best_run : 0);
  }

  void diagonal_gradients(int64_t delta) {
    const int64_t count = c_.length - delta;
    std::vector<double> a(size(count)), total(size(count)), run(size(count)), grad_best(size(count));
    std::vector<int64_t> best_row(size(count));  // of the running maximum
    double best = 0;
    for (int64_t n = 1; n < count; ++n) {
      a[size(n)] = agreement(p_, c_, arrays_, head_, delta + n, n - 1);
      total[size(n)] = total[size(n - 1)] + a[size(n)];
      const double candidate = total[size(n)] * (1 - a[size(n)]);
      best_row[size(n)] = candidate >= best ? n : best_row[size(n - 1)];
      best = std::max(best, candidate);
      run[size(n)] = total[size(n)] - best;
    }
    double grad_total = 0;
    for (int64_t n = count - 1; n >= std::max<int64_t>(0, first_row_ - delta); --n) {
      const double grad = run_gradient(delta + n, delta, run[size(n)]);
      if (n == 0) break;
      grad_best[size(best_row[size(n)])] -= grad;  // collected here before row best_row is visited, or now
      grad_total += grad + grad_best[size(n)] * (1 - a[size(n)]);
      const double grad_a = grad_total - grad_best[size(n)] * total[size(n)];
      add_dot_gradient(c_, arrays_, head_, delta + n, n - 1, grad_a * a[size(n)] * (1 - a[size(n)]) * p_.bits_scale);
    }
  }

  const ProxyCase& c_;
  const SoftRosaProblem p_;
  const std::vector<float>& bias_;
  int64_t head_, first_row_;
  ProxyArrays& arrays_;
  std::vector<Row> rows_;
};

inline void soft_rosa_oracle(const ProxyCase& c, const std::vector<float>& bias, ProxyArrays& arrays) {
  for (int64_t head = 0; head < c.heads; ++head) SoftRosaOracle(c, bias, head, 0, arrays).run(true);
}

// `floor`: what counts as the largest entry where everything cancels (constant inputs).
inline void expect_near(const std::vector<float>& actual, const std::vector<double>& expected, double floor,
                        const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size());
  double largest = floor, difference = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << what << " at " << i;
    largest = std::max(largest, std::abs(expected[i]));
    difference = std::max(difference, std::abs(actual[i] - expected[i]));
  }
  EXPECT_LE(difference, 1e-5 * largest) << what;
}

}  // namespace rosa::kernels::testing
