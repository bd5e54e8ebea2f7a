// The dense surrogate by its definition in float64: every product of matches anew, gradients by the product rule.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "rosa/kernels/dense_surrogate.h"
#include "tests/rosa/kernels/proxy_oracle.h"

namespace rosa::kernels::testing {

inline DenseSurrogateProblem dense_surrogate_problem(const ProxyCase& c) {
  return {c.heads, c.length, c.query_bits, c.value_bits, c.max_distance, 1 / c.attn_tau};
}

// The arrays of make_arrays with signs as queries, keys and values.
inline ProxyArrays make_signs(const ProxyCase& c) {
  ProxyArrays arrays = make_arrays(c);
  for (std::vector<double>* values : {&arrays.query, &arrays.key}) {
    for (double& value : *values) value = value > 0 ? 1 : -1;
  }
  for (double& value : arrays.value) value = value > 0.5 ? 1 : -1;
  return arrays;
}

inline double surrogate_match(const ProxyCase& c, const ProxyArrays& arrays, int64_t head, int64_t t, int64_t i) {
  if (i < 0 || t - i >= c.max_distance) return 0;
  return std::exp(-3 * (1 - dot(c, arrays, head, t, i) / static_cast<double>(c.query_bits)) / 2);
}

// Row `t` of `head`: fills its output (the carrier) and adds what it gives to the gradients.
inline void dense_surrogate_row(const ProxyCase& c, int64_t head, int64_t t, ProxyArrays& arrays) {
  const int64_t first = std::max<int64_t>(1, t - c.max_distance + 2);  // routes first ... t
  const size_t row = static_cast<size_t>((head * c.length + t) * c.value_bits);
  const auto bits = static_cast<size_t>(c.value_bits);
  const double scale = 1 / static_cast<double>(c.attn_tau);
  std::vector<double> runs, weights, grad_weights;
  double total = std::exp(scale / 2), mean = 0;
  for (int64_t a = first; a <= t; ++a) {
    double run = 0, product = 1;
    for (int64_t u = 0; u < 32 && product > 0; ++u)
      run += product *= surrogate_match(c, arrays, head, t - u, a - 1 - u);
    const double utility = (std::sqrt(2.0) + 1) * (std::sqrt(1 + run) - 1);
    runs.push_back(run);
    weights.push_back(std::exp(scale * utility) / static_cast<double>(t - first + 1));
    total += weights.back();
  }
  for (int64_t a = first; a <= t; ++a) {
    const double weight = weights[static_cast<size_t>(a - first)] /= total;
    const auto at = static_cast<size_t>(a * c.value_bits);
    double grad = 0;
    for (size_t m = 0; m < bits; ++m) {
      arrays.output[row + m] += weight * arrays.value[at + m];
      arrays.grad_value[at + m] += weight * arrays.grad_output[row + m];
      grad += arrays.grad_output[row + m] * arrays.value[at + m];
    }
    grad_weights.push_back(grad);
    mean += weight * grad;
  }
  for (int64_t a = first; a <= t; ++a) {
    const auto n = static_cast<size_t>(a - first);
    const double grad_run =
        weights[n] * (grad_weights[n] - mean) * scale * (std::sqrt(2.0) + 1) / (2 * std::sqrt(1 + runs[n]));
    // Match u is a factor of the products of more than u symbols; its derivative is itself times 3 / (2 D).
    std::vector<double> products;
    double product = 1;
    for (int64_t u = 0; u < 32 && product > 0; ++u) {
      products.push_back(product *= surrogate_match(c, arrays, head, t - u, a - 1 - u));
    }
    double with_match = 0;
    for (auto u = static_cast<int64_t>(products.size()) - 1; u >= 0; --u) {
      with_match += products[static_cast<size_t>(u)];
      if (a - 1 - u < 0) continue;
      add_dot_gradient(c, arrays, head, t - u, a - 1 - u,
                       grad_run * with_match * 1.5 / static_cast<double>(c.query_bits));
    }
  }
}

inline void dense_surrogate_oracle(const ProxyCase& c, ProxyArrays& arrays) {
  for (int64_t head = 0; head < c.heads; ++head) {
    for (int64_t t = 0; t < c.length; ++t) dense_surrogate_row(c, head, t, arrays);
  }
}

}  // namespace rosa::kernels::testing
