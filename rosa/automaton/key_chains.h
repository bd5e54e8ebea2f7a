// KeyChains: the fast way to search a growing sequence of keys, as ChainSearch is for whole sequences (see there), by
// hashes of any order alone. A level's chains are filled when a search asks for them, so that constant and periodic
// keys cost nothing here, and levels of higher order are added where walks get long.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

class KeyChains {
 public:
  // Returns the longest, then latest match among `keys` of a string: the last symbols of keys[0 ... before.position],
  // of which before.length are to match at most, and then `symbol`. `before` is the match of the query before. The keys
  // of an earlier call must be those of this one, or fewer. May give up where is_spent() holds afterwards.
  Match search(const SymbolSequence& keys, const Match& before, uint64_t symbol);

  // Forgets the keys from `size` on, which `keys` still holds.
  void rewind(const SymbolSequence& keys, int32_t size);

  // Whether the searches cost more than they may for so many keys.
  bool is_spent(int32_t num_keys) const { return num_steps_ > allowed_steps_ + kStepsASymbol * num_keys; }
  // Allows as many steps as if all keys were new.
  void allow_more() { allowed_steps_ = num_steps_ + kFreeSteps; }

  // Candidates looked at and symbols compared so far: the work done.
  int64_t num_steps() const { return num_steps_; }
  size_t num_bytes() const;

 private:
  static constexpr int32_t kMaxLevels = 24;
  static constexpr int32_t kMaxRuns = 4;
  static constexpr int64_t kStepsASymbol = 24;
  static constexpr int64_t kFreeSteps = 16384;

  // All positions with the same hash of the last `order` keys, latest first; or, where num_runs > 0, of the last
  // num_runs runs of equal keys and the one key before them. Positions are stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t num_runs = 0;
    int32_t head_bits = 0;
    std::vector<uint32_t> heads;
    GrowingArray<uint32_t> previous;  // as long as the keys that were entered
  };

  // A level that a search walks.
  struct Walk {
    Level* level;
    int32_t order;   // of the string searched
    uint32_t entry;  // the first of the chain
  };

  // What is searched: see search(). `run`: so many of its last symbols are equal.
  struct Target {
    Match before;
    uint64_t symbol;
    int32_t run;
    int32_t limit() const { return before.length + 1; }
  };

  void choose_orders(int32_t num_bits);
  void extend_hashes(const SymbolSequence& keys);
  uint32_t hash_before(int32_t order, int32_t position) const;
  uint32_t& head(Level& level, int32_t order, int32_t position) const;
  void fill(Level& level, const SymbolSequence& keys);
  int32_t list_walks(const SymbolSequence& keys, const Target& target, std::array<Walk, kMaxLevels + kMaxRuns>& walks);
  void ask_for_next(const Level& level, const Target& target, int32_t num_keys, int64_t num_steps);
  Match walk(const Walk& walk, const SymbolSequence& keys, const Target& target, int32_t enough);

  int32_t symbol_bits_ = 0;  // the orders are chosen for these
  int32_t num_orders_ = 0;
  int32_t num_active_ = 0;
  int32_t num_active_runs_ = 0;
  std::array<Level, kMaxLevels> levels_;
  std::array<Level, kMaxRuns> run_levels_;  // of 1, 2, ... runs
  GrowingArray<uint32_t> hashes_;           // hashes_[i]: of the first i keys
  int64_t num_steps_ = 0;
  int64_t num_wasted_steps_ = 0;
  int64_t num_wasted_run_steps_ = 0;
  int64_t allowed_steps_ = kFreeSteps;
};

}  // namespace rosa::automaton
