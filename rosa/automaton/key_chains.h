// KeyChains: the fast way to search a growing sequence of keys, as ChainSearch is for whole sequences (see there).
// Each order's chains are filled when a search first asks for them, so that constant and periodic keys cost nothing
// here.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/match.h"

namespace rosa::automaton {

class KeyChains {
 public:
  KeyChains();

  // Returns the longest, then latest match among `keys` of a string: the last symbols of keys[0 ... before.position],
  // of which before.length are to match at most, and then `symbol`. `before` is the match of the query before. The keys
  // of an earlier call must be those of this one, or fewer. May give up where is_spent() holds afterwards.
  Match search(std::span<const uint64_t> keys, const Match& before, uint64_t symbol);

  // Whether the searches cost more than they may for so many keys.
  bool is_spent(size_t num_keys) const {
    return num_steps_ > kStepsASymbol * static_cast<int64_t>(num_keys) + kFreeSteps;
  }

  // Candidates looked at and symbols compared so far: the work done.
  int64_t num_steps() const { return num_steps_; }

 private:
  static constexpr std::array<int32_t, 11> kOrders{1, 2, 3, 4, 6, 9, 12, 16, 24, 40, 64};
  static constexpr int64_t kStepsASymbol = 16;
  static constexpr int64_t kFreeSteps = 4096;
  static constexpr int32_t kMaxOrder = kOrders.back();

  // All positions with the same hash of the last `order` keys, latest first. Positions are stored plus 1; 0 ends a
  // chain.
  struct Level {
    int32_t head_bits = 0;
    uint64_t rolling = 0;  // the hash of the last `order` keys that were entered
    std::vector<uint32_t> heads;
    std::vector<uint32_t> previous;  // as long as the keys that were entered
  };

  void fill(Level& level, int32_t order, std::span<const uint64_t> keys);
  Match walk(const Level& level, uint64_t hash, std::span<const uint64_t> keys, const Match& before, uint64_t symbol,
             int32_t enough);

  std::array<Level, kOrders.size()> levels_;
  int64_t num_steps_ = 0;
};

}  // namespace rosa::automaton
