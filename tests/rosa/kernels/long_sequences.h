// The fused proxies on long sequences against the definition in float64, in the last rows: sums along diagonals have
// had the whole length to drift, and only these rows are evaluated exactly.
#pragma once

#include <string>
#include <vector>

#include "tests/rosa/kernels/cpu_forms.h"

namespace rosa::kernels::testing {

// The rows [c.length - num_rows, c.length) of [t][bits].
template <class Value>
std::vector<Value> last_rows(const std::vector<Value>& rows, int64_t num_rows, int64_t bits) {
  return std::vector<Value>(rows.end() - num_rows * bits, rows.end());
}

// Within 1e-5 of the largest entry of the whole array: where the last rows found what they look for, their gradients
// are roundings of much larger terms.
inline void expect_last(const std::vector<float>& actual, const std::vector<double>& expected, int64_t num_rows,
                        int64_t bits, const std::string& what) {
  double largest = 0;
  for (const float value : actual) largest = std::max(largest, std::abs(static_cast<double>(value)));
  expect_near(last_rows(actual, num_rows, bits), last_rows(expected, num_rows, bits), largest, what);
}

// Outputs, and the gradients that no earlier row contributes to.
inline void expect_last_rows(const ProxyCase& c, const ProxyResult& actual, const ProxyArrays& expected,
                             int64_t num_rows) {
  expect_last(actual.output, expected.output, num_rows, c.value_bits, "output");
  expect_last(actual.grad_query, expected.grad_query, num_rows, c.query_bits, "grad_query");
  expect_last(actual.grad_key, expected.grad_key, num_rows, c.query_bits, "grad_key");
  expect_last(actual.grad_value, expected.grad_value, num_rows, c.value_bits, "grad_value");
}

inline ProxyCase long_case(const std::string& input, int64_t length, int64_t max_distance = kNoLimit) {
  ProxyCase c;
  c.length = length, c.input = input, c.max_distance = max_distance;
  return c;
}

inline void check_long_sufa(const ProxyCase& c) {
  SCOPED_TRACE(c.text());
  constexpr int64_t kRows = 24;
  ProxyArrays arrays = make_arrays(c);
  const std::vector<float> bias = make_bias(c, 1);
  for (int64_t t = c.length - kRows; t < c.length; ++t) sufa_oracle_row(c, bias, 0, t, true, arrays);
  expect_last_rows(c, run_sufa(chosen_proxy_variant(), c, bias, arrays), arrays, kRows);
}

inline void check_long_soft_rosa(const ProxyCase& c) {
  SCOPED_TRACE(c.text());
  constexpr int64_t kRows = 24;
  ProxyArrays arrays = make_arrays(c);
  const std::vector<float> bias = make_bias(c, c.attn_tau);
  SoftRosaOracle(c, bias, 0, c.length - kRows, arrays).run(true);
  expect_last_rows(c, run_soft_rosa(chosen_proxy_variant(), c, bias, arrays), arrays, kRows);
}

}  // namespace rosa::kernels::testing
