// Every form of the fused dense surrogate that this processor can run, against the definition in float64.
#include "rosa/kernels/dense_surrogate.h"

#include <gtest/gtest.h>

#include "tests/rosa/kernels/cpu_forms.h"
#include "tests/rosa/kernels/dense_surrogate_oracle.h"

namespace rosa::kernels {
namespace {

using testing::kNoLimit;
using testing::ProxyCase;

struct Gradients {
  std::vector<float> query, key, value;
};

Gradients run(const ProxyVariant& variant, const ProxyCase& c, const testing::ProxyArrays& arrays) {
  const DenseSurrogateProblem problem = testing::dense_surrogate_problem(c);
  const testing::ProxyInputs inputs(c, arrays);
  std::vector<std::byte> workspace = testing::dirty_workspace(dense_surrogate_workspace_bytes(problem));
  Gradients result{std::vector<float>(inputs.query.size()), std::vector<float>(inputs.key.size()),
                   std::vector<float>(inputs.value.size())};
  const auto backward = [&](Rows query, Rows key, Rows value) {
    variant.dense_surrogate_backward(problem, inputs.query_rows(), inputs.key_rows(), inputs.value_rows(),
                                     inputs.grad_rows(), query, key, value, workspace.data());
  };
  const Rows query = inputs.query_like(result.query), key{result.key.data(), 0, c.query_bits};
  backward(query, key, {result.value.data(), 0, c.value_bits});
  std::vector<float> values_only(inputs.value.size());
  backward({}, {}, {values_only.data(), 0, c.value_bits});
  EXPECT_EQ(values_only, result.value);
  const Gradients both = result;
  backward(query, key, {});
  EXPECT_EQ(result.query, both.query);
  EXPECT_EQ(result.key, both.key);
  return result;
}

TEST(DenseSurrogate, EqualsTheDefinition) {
  for (const char* input : {"random", "constant", "runs"}) {
    for (const ProxyCase& sizes :
         {ProxyCase{1, 1, 8, 8}, ProxyCase{1, 2, 8, 8}, ProxyCase{2, 31, 8, 8}, ProxyCase{1, 32, 4, 4},
          ProxyCase{2, 33, 1, 1}, ProxyCase{1, 65, 2, 3}, ProxyCase{3, 100, 3, 5}, ProxyCase{1, 150, 4, 4},
          ProxyCase{1, 41, 63, 40}, ProxyCase{1, 41, 20, 63}, ProxyCase{1, 200, 8, 8}}) {
      for (const int64_t max_distance : {kNoLimit, int64_t{1}, int64_t{2}, int64_t{19}}) {
        for (const float attn_tau : {1.0F, 0.2F}) {
          ProxyCase c = sizes;
          c.input = input;
          c.max_distance = max_distance;
          c.attn_tau = attn_tau;
          SCOPED_TRACE(c.text() + ", tau " + std::to_string(attn_tau));
          testing::ProxyArrays arrays = testing::make_signs(c);
          testing::dense_surrogate_oracle(c, arrays);
          const ProxyVariants variants = proxy_variants();
          for (int i = 0; i < variants.count; ++i) {
            SCOPED_TRACE(variants.variants[i].name);
            const Gradients actual = run(variants.variants[i], c, arrays);
            // Where all symbols are equal, the routes' gradients cancel in those of queries and keys.
            const double equal = (1 + static_cast<double>(c.length) / 32) * 0.2 / attn_tau;
            const double floor = c.input == "constant" ? equal : 1e-3;
            testing::expect_near(actual.query, arrays.grad_query, floor, "grad_query");
            testing::expect_near(actual.key, arrays.grad_key, floor, "grad_key");
            testing::expect_near(actual.value, arrays.grad_value, 1e-3, "grad_value");
          }
        }
      }
    }
  }
}

TEST(DenseSurrogate, WorkspaceIsLinearInTheLength) {
  DenseSurrogateProblem problem;
  problem.query_bits = problem.value_bits = 8;
  problem.length = problem.max_distance = 65536;
  const int64_t bytes = dense_surrogate_workspace_bytes(problem);
  problem.length = problem.max_distance = 131072;
  EXPECT_LE(dense_surrogate_workspace_bytes(problem), 2 * bytes);
}

}  // namespace
}  // namespace rosa::kernels
