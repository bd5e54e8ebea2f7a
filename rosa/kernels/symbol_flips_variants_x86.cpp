// The forms of the symbol flips on x86-64.
#include "rosa/kernels/symbol_flips_variants.h"

namespace rosa::kernels {

SymbolFlipsVariants symbol_flips_variants() {
  SymbolFlipsVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = {"avx512", avx512::list_match_changes, avx512::sum_match_rewards};
  }
  if (__builtin_cpu_supports("avx2")) {
    result.variants[result.count++] = {"avx2", avx2::list_match_changes, avx2::sum_match_rewards};
  }
  result.variants[result.count++] = {"portable", portable::list_match_changes, portable::sum_match_rewards};
  return result;
}

}  // namespace rosa::kernels
