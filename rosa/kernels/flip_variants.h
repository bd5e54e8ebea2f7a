// The flip kernels by instruction set, as function tables; the process picks one at run time.
#pragma once

#include "rosa/kernels/channel_flips_problem.h"
#include "rosa/kernels/symbol_flips_problem.h"

namespace rosa::kernels {

#define ROSA_DECLARE_FLIPS(name)                                          \
  namespace name {                                                        \
  void list_changes(const FlipProblem&, ChangeList&);                     \
  void sum_rewards(const FlipProblem&, RewardSums&);                      \
  void list_match_changes(const SymbolFlipProblem&, MatchChangeList&);    \
  void sum_match_rewards(const SymbolFlipProblem&, MatchRewardSums&);     \
  void list_tied_changes(const SymbolFlipProblem&, MatchChangeList&);     \
  void sum_tied_rewards(const SymbolFlipProblem&, MatchRewardSums&);      \
  void sum_tied_value_rewards(const SymbolFlipProblem&, TiedRewardSums&); \
  }
ROSA_DECLARE_FLIPS(avx512)
ROSA_DECLARE_FLIPS(avx2)
ROSA_DECLARE_FLIPS(portable)
#undef ROSA_DECLARE_FLIPS

struct FlipVariant {
  const char* name;
  decltype(&portable::list_changes) list_changes;
  decltype(&portable::sum_rewards) sum_rewards;
  decltype(&portable::list_match_changes) list_match_changes;
  decltype(&portable::sum_match_rewards) sum_match_rewards;
  decltype(&portable::list_tied_changes) list_tied_changes;
  decltype(&portable::sum_tied_rewards) sum_tied_rewards;
  decltype(&portable::sum_tied_value_rewards) sum_tied_value_rewards;
};

// The entry of one namespace above.
#define ROSA_FLIP_VARIANT(name)                                                                      \
  {                                                                                                  \
#name, name::list_changes, name::sum_rewards, name::list_match_changes, name::sum_match_rewards, \
        name::list_tied_changes, name::sum_tied_rewards, name::sum_tied_value_rewards                \
  }

// All forms that this processor can run, fastest first; "portable" is always the last.
struct FlipVariants {
  FlipVariant variants[3];
  int count;
};
FlipVariants flip_variants();

// The fastest.
const FlipVariant& chosen_flip_variant();

}  // namespace rosa::kernels
