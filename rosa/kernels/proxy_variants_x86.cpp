// The forms of the fused proxies on x86-64.
#include "rosa/kernels/proxy_variants.h"

namespace rosa::kernels {

ProxyVariants proxy_variants() {
  ProxyVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = ROSA_PROXY_VARIANT(avx512);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    result.variants[result.count++] = ROSA_PROXY_VARIANT(avx2);
  }
  result.variants[result.count++] = ROSA_PROXY_VARIANT(portable);
  return result;
}

}  // namespace rosa::kernels
