// The forms of the fused SUFA on x86-64.
#include "rosa/kernels/sufa_variants.h"

namespace rosa::kernels {

SufaVariants sufa_variants() {
  SufaVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = {"avx512", avx512::sufa_forward, avx512::sufa_backward};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    result.variants[result.count++] = {"avx2", avx2::sufa_forward, avx2::sufa_backward};
  }
  result.variants[result.count++] = {"portable", portable::sufa_forward, portable::sufa_backward};
  return result;
}

}  // namespace rosa::kernels
