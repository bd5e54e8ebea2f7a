#include "rosa/kernels/channel_flips_impl.h"
#include "rosa/kernels/flip_variants.h"
#include "rosa/kernels/lanes_avx2.h"
#include "rosa/kernels/symbol_flips_impl.h"
#include "rosa/kernels/tied_flips_impl.h"

namespace rosa::kernels::avx2 {

void list_changes(const FlipProblem& problem, ChangeList& changes) { run_channel_flips<Avx2Lanes>(problem, changes); }
void sum_rewards(const FlipProblem& problem, RewardSums& sums) { run_channel_flips<Avx2Lanes>(problem, sums); }
void list_match_changes(const SymbolFlipProblem& problem, MatchChangeList& changes) {
  run_symbol_flips<Avx2Lanes>(problem, changes);
}
void sum_match_rewards(const SymbolFlipProblem& problem, MatchRewardSums& sums) {
  run_symbol_flips<Avx2Lanes>(problem, sums);
}
void list_tied_changes(const SymbolFlipProblem& problem, MatchChangeList& changes) {
  TiedFlipRun<Avx2Lanes, MatchChangeList>(problem, changes).run();
}
void sum_tied_rewards(const SymbolFlipProblem& problem, MatchRewardSums& sums) {
  TiedFlipRun<Avx2Lanes, MatchRewardSums>(problem, sums).run();
}
void sum_tied_value_rewards(const SymbolFlipProblem& problem, TiedRewardSums& sums) {
  TiedFlipRun<Avx2Lanes, TiedRewardSums>(problem, sums).run();
}

}  // namespace rosa::kernels::avx2
