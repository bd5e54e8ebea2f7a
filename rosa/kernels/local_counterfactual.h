// The local counterfactual of ROSA-Tuning with the matches of rosa/automaton/match.h, one sequence and head: instead of
// exact flips, one step of what-if at the start of each run of equal queries. Cheap and biased, a baseline. Owns no
// gradients: estimators turn effects into those.
//
// Definition. reward(t, i) is that of SymbolFlips::Rewards: what row t gains by matching at position i, reading value
// i + 1; 0 at -1. hard(t) is the position at which row t matches.
//   A row t starts a query run where t = 0 or q[t] != q[t-1]. There, for each bit b, the what-if w(t, b) is where row t
//   alone would match with bit b of q[t] flipped: the largest i < t among those with k[i] = q[t] ^ 1 << b and the
//   greatest match of the queries before t up to i - 1. Rows after t are not matched anew. The contrast is
//     c(t, b) = reward(t, w(t, b)) - reward(t, hard(t)).
//   query: effects[t, b] = c(t, b) at starts of query runs, else 0.
//   key: a key run is a maximal stretch of equal keys; its first position gets the credit. Row t and bit b lead to two
//     runs: that of hard(t), with the bit of q as it is, and that of w(t, b), with it flipped. In each of the two the
//     keys have in bit b the bit of q that led there. Both runs get c(t, b), for the same reason:
//     if that bit of the keys is flipped, q no longer leads to the first run,
//     but to the second.
//   value: as SymbolFlips::value_effects, all rows.
// Each effect is what flipping the bit is taken to do, with the sign of SymbolFlips::effects. Sums are in ascending
// order of rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rosa/kernels/symbol_flips.h"

namespace rosa::kernels {

// One per thread. Takes an online automaton's forward, and for each what-if as many steps as suffixes of the match have
// to be tried: few as a rule, half a sequence of period 2.
class LocalCounterfactual {
 public:
  // Writes the positions where rows match and the effects: query and key [length, num_bits], value [length,
  // value_bits]. Throws ArgumentError as SymbolFlips::effects.
  void effects(std::span<const uint16_t> query, std::span<const uint16_t> key, int64_t num_bits,
               const SymbolFlips::Rewards& rewards, std::span<int32_t> positions, std::span<double> query_effects,
               std::span<double> key_effects, std::span<double> value_effects);

 private:
  std::vector<int32_t> run_starts_;  // of the key run at each position
  std::vector<bool> is_key_;         // by symbol: whether a key is that
};

}  // namespace rosa::kernels
