#include "rosa/kernels/channel_flips_impl.h"
#include "rosa/kernels/lanes_avx512.h"

namespace rosa::kernels::avx512 {

void list_changes(const FlipProblem& problem, ChangeList& changes) { run_channel_flips<Avx512Lanes>(problem, changes); }
void sum_rewards(const FlipProblem& problem, RewardSums& sums) { run_channel_flips<Avx512Lanes>(problem, sums); }

}  // namespace rosa::kernels::avx512
