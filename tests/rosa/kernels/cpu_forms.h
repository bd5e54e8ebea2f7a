// Runs one form of the fused CPU proxies on a ProxyCase.
#pragma once

#include <vector>

#include "rosa/kernels/proxy_variants.h"
#include "tests/rosa/kernels/proxy_oracle.h"

namespace rosa::kernels::testing {

struct ProxyResult {
  std::vector<float> output, grad_query, grad_key, grad_value;
};

// The inputs of a case in float32, as the kernels take them.
struct ProxyInputs {
  ProxyInputs(const ProxyCase& c, const ProxyArrays& arrays)
      : sizes(c),
        query(to_floats(arrays.query)),
        key(to_floats(arrays.key)),
        value(to_floats(arrays.value)),
        grad_output(to_floats(arrays.grad_output)) {}

  ConstRows query_rows() const { return {query.data(), sizes.length * sizes.query_bits, sizes.query_bits}; }
  ConstRows key_rows() const { return {key.data(), 0, sizes.query_bits}; }
  ConstRows value_rows() const { return {value.data(), 0, sizes.value_bits}; }
  ConstRows grad_rows() const { return {grad_output.data(), sizes.length * sizes.value_bits, sizes.value_bits}; }
  Rows query_like(std::vector<float>& to) const {
    return {to.data(), sizes.length * sizes.query_bits, sizes.query_bits};
  }
  Rows output_like(std::vector<float>& to) const {
    return {to.data(), sizes.length * sizes.value_bits, sizes.value_bits};
  }

  ProxyCase sizes;
  std::vector<float> query, key, value, grad_output;
};

// A workspace that holds all ones bits, NaN, as it may hold anything.
inline std::vector<std::byte> dirty_workspace(int64_t num_bytes) {
  return std::vector<std::byte>(static_cast<size_t>(num_bytes), std::byte{255});
}

template <class Problem, class Forward, class Backward>
ProxyResult run_form(const Problem& problem, const ProxyInputs& inputs, int64_t num_workspace_bytes, Forward forward,
                     Backward backward) {
  ProxyResult result{std::vector<float>(inputs.grad_output.size()), std::vector<float>(inputs.query.size()),
                     std::vector<float>(inputs.key.size()), std::vector<float>(inputs.value.size())};
  const ConstRows q = inputs.query_rows(), k = inputs.key_rows(), v = inputs.value_rows(), g = inputs.grad_rows();
  std::vector<std::byte> workspace = dirty_workspace(num_workspace_bytes);
  forward(problem, q, k, v, inputs.output_like(result.output), workspace.data());
  workspace = dirty_workspace(num_workspace_bytes);
  const Rows grad_value{result.grad_value.data(), 0, inputs.sizes.value_bits};
  backward(problem, q, k, v, g, inputs.query_like(result.grad_query),
           {result.grad_key.data(), 0, inputs.sizes.query_bits}, grad_value, workspace.data());
  std::vector<float> values_only(inputs.value.size());
  backward(problem, q, k, v, g, {}, {}, {values_only.data(), 0, inputs.sizes.value_bits}, workspace.data());
  EXPECT_EQ(values_only, result.grad_value);
  return result;
}

inline ProxyResult run_sufa(const ProxyVariant& variant, const ProxyCase& c, const std::vector<float>& bias,
                            const ProxyArrays& arrays) {
  const SufaProblem problem = sufa_problem(c, bias);
  return run_form(problem, ProxyInputs(c, arrays), sufa_workspace_bytes(problem), variant.sufa_forward,
                  variant.sufa_backward);
}

inline ProxyResult run_soft_rosa(const ProxyVariant& variant, const ProxyCase& c, const std::vector<float>& bias,
                                 const ProxyArrays& arrays) {
  const SoftRosaProblem problem = soft_rosa_problem(c, bias);
  return run_form(problem, ProxyInputs(c, arrays), soft_rosa_workspace_bytes(problem), variant.soft_rosa_forward,
                  variant.soft_rosa_backward);
}

// `score_scale`: what the gradients of queries and keys are proportional to.
inline void expect_near(const ProxyResult& actual, const ProxyArrays& expected, double score_scale) {
  expect_near(actual.output, expected.output, 1e-3, "output");
  expect_near(actual.grad_query, expected.grad_query, 0.2 * score_scale, "grad_query");
  expect_near(actual.grad_key, expected.grad_key, 0.2 * score_scale, "grad_key");
  expect_near(actual.grad_value, expected.grad_value, 1e-3, "grad_value");
}

}  // namespace rosa::kernels::testing
