// The forms of the flip kernels on x86-64.
#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {

FlipVariants flip_variants() {
  FlipVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = {"avx512", avx512::list_changes, avx512::sum_rewards, avx512::list_match_changes,
                                       avx512::sum_match_rewards};
  }
  if (__builtin_cpu_supports("avx2")) {
    result.variants[result.count++] = {"avx2", avx2::list_changes, avx2::sum_rewards, avx2::list_match_changes,
                                       avx2::sum_match_rewards};
  }
  result.variants[result.count++] = {"portable", portable::list_changes, portable::sum_rewards,
                                     portable::list_match_changes, portable::sum_match_rewards};
  return result;
}

}  // namespace rosa::kernels
