// Every form of the fused soft ROSA that this processor can run, against the definition in float64.
#include "rosa/kernels/soft_rosa.h"

#include <gtest/gtest.h>

#include "tests/rosa/kernels/cpu_forms.h"

namespace rosa::kernels {
namespace {

using testing::kNoLimit;
using testing::ProxyCase;

ProxyCase sized(int64_t heads, int64_t length, int64_t query_bits, int64_t value_bits, int64_t max_distance = kNoLimit,
                float bits_tau = 1, float attn_tau = 1) {
  ProxyCase c;
  c.heads = heads, c.length = length, c.query_bits = query_bits, c.value_bits = value_bits;
  c.max_distance = max_distance, c.bits_tau = bits_tau, c.attn_tau = attn_tau;
  return c;
}

TEST(SoftRosa, EqualsTheDefinition) {
  for (const char* input : {"random", "constant", "saturated", "runs"}) {
    for (ProxyCase c : {sized(1, 1, 8, 8), sized(1, 2, 8, 8), sized(2, 37, 8, 8), sized(1, 64, 8, 8, 9, 0.5F, 0.3F),
                        sized(2, 100, 4, 4, 1), sized(1, 65, 1, 1, kNoLimit, 0.2F, 2), sized(3, 33, 3, 5),
                        sized(1, 45, 63, 40, 17, 2), sized(1, 41, 40, 63), sized(1, 31, 63, 1), sized(1, 31, 1, 63),
                        sized(1, 130, 8, 8, 70, 1, 0.1F), sized(1, 200, 8, 8, kNoLimit, 0.8F)}) {
      c.input = input;
      SCOPED_TRACE(c.text());
      testing::ProxyArrays arrays = testing::make_arrays(c);
      const std::vector<float> bias = testing::make_bias(c, c.attn_tau);
      testing::soft_rosa_oracle(c, bias, arrays);
      const ProxyVariants variants = proxy_variants();
      for (int i = 0; i < variants.count; ++i) {
        SCOPED_TRACE(variants.variants[i].name);
        expect_near(run_soft_rosa(variants.variants[i], c, bias, arrays), arrays, 1 / c.attn_tau);
      }
    }
  }
}

// All gradients cancel, and what they are off is multiplied by the length: here by the largest entries alone.
TEST(SoftRosa, ConstantInputIsExactEnoughAt2048) {
  ProxyCase c = sized(1, 2048, 8, 8);
  c.input = "constant";
  testing::ProxyArrays arrays = testing::make_arrays(c);
  const std::vector<float> bias = testing::make_bias(c, c.attn_tau);
  testing::soft_rosa_oracle(c, bias, arrays);
  const ProxyVariants variants = proxy_variants();
  for (int i = 0; i < variants.count; ++i) {
    SCOPED_TRACE(variants.variants[i].name);
    const testing::ProxyResult result = run_soft_rosa(variants.variants[i], c, bias, arrays);
    testing::expect_near(result.output, arrays.output, 0, "output");
    testing::expect_near(result.grad_query, arrays.grad_query, 0, "grad_query");
    testing::expect_near(result.grad_key, arrays.grad_key, 0, "grad_key");
    testing::expect_near(result.grad_value, arrays.grad_value, 0, "grad_value");
  }
}

}  // namespace
}  // namespace rosa::kernels
