#include "rosa/kernels/channel_flips_impl.h"
#include "rosa/kernels/lanes_portable.h"

namespace rosa::kernels::portable {

void list_changes(const FlipProblem& problem, ChangeList& changes) {
  run_channel_flips<PortableLanes>(problem, changes);
}
void sum_rewards(const FlipProblem& problem, RewardSums& sums) { run_channel_flips<PortableLanes>(problem, sums); }

}  // namespace rosa::kernels::portable
