// Every form of the fused SUFA that this processor can run, against the definition in float64.
#include "rosa/kernels/sufa.h"

#include <gtest/gtest.h>

#include "tests/rosa/kernels/cpu_forms.h"

namespace rosa::kernels {
namespace {

using testing::kNoLimit;
using testing::ProxyCase;

TEST(Sufa, EqualsTheDefinition) {
  for (const char* input : {"random", "constant", "saturated", "runs", "random, first column hidden"}) {
    for (const ProxyCase& sizes :
         {ProxyCase{1, 1, 8, 8, 16}, ProxyCase{1, 2, 8, 8, 16}, ProxyCase{2, 37, 8, 8, 16},
          ProxyCase{1, 64, 8, 8, 16, kNoLimit, 0.09F, 1, 1, false}, ProxyCase{2, 100, 4, 4, 8, 9, 0.5F},
          ProxyCase{1, 70, 2, 2, 64, kNoLimit, 0.3F}, ProxyCase{1, 50, 1, 1, 128},
          ProxyCase{3, 33, 3, 5, 1, kNoLimit, 1}, ProxyCase{1, 90, 8, 8, 4, 1, 2},
          ProxyCase{1, 45, 63, 40, 2, 17, 0.1F}, ProxyCase{1, 41, 40, 63, 3}, ProxyCase{1, 31, 63, 1, 2},
          ProxyCase{1, 31, 1, 63, 5, 30}, ProxyCase{1, 200, 8, 8, 16, kNoLimit, 5}}) {
      ProxyCase c = sizes;
      c.input = input;
      if (c.input.starts_with("random,")) c.num_hidden = 1;
      SCOPED_TRACE(c.text());
      testing::ProxyArrays arrays = testing::make_arrays(c);
      const std::vector<float> bias = testing::make_bias(c, 1);
      testing::sufa_oracle(c, bias, arrays);
      const ProxyVariants variants = proxy_variants();
      for (int i = 0; i < variants.count; ++i) {
        SCOPED_TRACE(variants.variants[i].name);
        expect_near(run_sufa(variants.variants[i], c, bias, arrays), arrays, c.scale);
      }
    }
  }
}

TEST(FusedProxies, SomeFormRuns) { EXPECT_STREQ(proxy_instruction_set(), proxy_variants().variants[0].name); }

}  // namespace
}  // namespace rosa::kernels
