// The forms of the arithmetic of single tokens on x86-64.
#include "rosa/kernels/token_row_variants.h"

namespace rosa::kernels {

TokenRowVariants token_row_variants() {
  TokenRowVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = ROSA_TOKEN_ROWS(avx512);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    result.variants[result.count++] = ROSA_TOKEN_ROWS(avx2);
  }
  result.variants[result.count++] = ROSA_TOKEN_ROWS(portable);
  return result;
}

}  // namespace rosa::kernels
