#include "rosa/kernels/lanes_portable.h"
#include "rosa/kernels/symbol_flips_impl.h"

namespace rosa::kernels::portable {

void list_match_changes(const SymbolFlipProblem& problem, MatchChangeList& changes) {
  SymbolFlipRun<PortableLanes, MatchChangeList>(problem, changes).run();
}
void sum_match_rewards(const SymbolFlipProblem& problem, MatchRewardSums& sums) {
  SymbolFlipRun<PortableLanes, MatchRewardSums>(problem, sums).run();
}

}  // namespace rosa::kernels::portable
