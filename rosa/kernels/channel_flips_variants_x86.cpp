// The forms of the channel flips on x86-64.
#include "rosa/kernels/channel_flips_variants.h"

namespace rosa::kernels {

ChannelFlipsVariants channel_flips_variants() {
  ChannelFlipsVariants result{};
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    result.variants[result.count++] = {"avx512", avx512::list_changes, avx512::sum_rewards};
  }
  if (__builtin_cpu_supports("avx2")) {
    result.variants[result.count++] = {"avx2", avx2::list_changes, avx2::sum_rewards};
  }
  result.variants[result.count++] = {"portable", portable::list_changes, portable::sum_rewards};
  return result;
}

}  // namespace rosa::kernels
