// The forms of the flip kernels on x86-64.
#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {

FlipVariants flip_variants() {
  FlipVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = ROSA_FLIP_VARIANT(avx512);
  }
  if (__builtin_cpu_supports("avx2")) result.variants[result.count++] = ROSA_FLIP_VARIANT(avx2);
  result.variants[result.count++] = ROSA_FLIP_VARIANT(portable);
  return result;
}

}  // namespace rosa::kernels
