// KeyChains: the fast way to search a growing sequence of keys, as ChainSearch is for whole sequences (see there):
// short matches come from tables, longer ones from chains of positions with the same context. Both are filled when a
// search asks for them, so that constant and periodic keys cost nothing here, and levels of chains are added where
// walks get long. What misses the caches costs most in long sequences; hence the filters, which tell from one byte that
// a chain is empty.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rosa/automaton/context_tables.h"
#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/run_ends.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

class KeyChains {
 public:
  // Returns the longest, then latest match among `keys` of a string: the last symbols of keys[0 ... before.position],
  // of which before.length are to match at most, and then `symbol`. `before` is the match of the query before. The keys
  // of an earlier call must be those of this one, or fewer. May give up where is_spent() holds afterwards.
  Match search(const SymbolSequence& keys, const Match& before, uint64_t symbol);

  // Forgets the keys from `size` on, which `keys` still holds. Some of them may be wider than any that were searched.
  void rewind(const SymbolSequence& keys, int32_t size);

  // Whether the searches cost more than they may for so many keys.
  bool is_spent(int32_t num_keys) const { return num_steps_ > allowed_steps_ + kStepsASymbol * num_keys; }

  // Candidates looked at and symbols compared so far: the work done.
  int64_t num_steps() const { return num_steps_; }
  size_t num_bytes() const;

 private:
  static constexpr int32_t kMaxLevels = 24;
  static constexpr int32_t kMaxRuns = 8;
  static constexpr int64_t kStepsASymbol = 24;
  static constexpr int64_t kFreeSteps = 16384;
  static constexpr int32_t kNoSize = -2;

  // All positions with the same hash of the last `order` keys, latest first; or, where num_runs > 0, of the last
  // num_runs runs of equal keys and the one key before them. Positions are stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t num_runs = 0;
    int32_t head_bits = 0;
    int64_t num_wasted_steps = 0;
    std::vector<uint32_t> heads;
    std::vector<uint8_t> filter;      // empty: none; of each head a bit for each value of the hash's next 3 bits
    GrowingArray<uint32_t> previous;  // as long as the keys that were entered
  };

  // A chain that a search walks: of a level, or, where that is null, of the tables.
  struct Walk {
    Level* level;
    int32_t order;   // of the string searched
    uint32_t entry;  // the first of the chain
  };
  using Walks = std::array<Walk, kMaxLevels + kMaxRuns>;

  // What is searched: see search(). `run`: so many of its last symbols are equal. `context`: as of ContextTables, of
  // which limit() symbols count.
  struct Target {
    Match before;
    uint64_t symbol;
    uint64_t context;
    int32_t run;
    int32_t limit() const { return before.length + 1; }
  };

  bool has_tables() const { return symbol_bits_ <= 8; }
  bool is_hashed_by_context(int32_t order) const { return has_tables() && order * symbol_bits_ <= 64; }
  void choose_orders(int32_t num_bits);
  int32_t order_above(int32_t order) const;
  uint64_t target_context(const SymbolSequence& keys, const Match& before, uint64_t symbol);

  void extend_runs(const SymbolSequence& keys);
  int32_t run_of(int32_t position) const;
  int32_t run_of_last(int32_t position) const;
  int32_t run_at(const SymbolSequence& keys, int32_t position, int32_t limit);
  int32_t order_of_runs(int32_t position, int32_t run, int32_t num_runs) const;

  void extend_hashes(const SymbolSequence& keys, int32_t size);
  uint32_t hash_before(int32_t order, int32_t position) const;
  uint32_t hash_of_key(int32_t order, uint64_t context, int32_t position) const;
  uint32_t hash_of_target(int32_t order, const Target& target) const;

  void fill(const SymbolSequence& keys);
  void fill_runs(Level& level, const SymbolSequence& keys);
  bool make_room(Level& level, int32_t size);
  void enter(Level& level, uint32_t hash, int32_t position);
  void take_back(Level& level, uint32_t hash, int32_t position);
  void enter_again(Level& level, const SymbolSequence& keys);

  int32_t list_walks(const SymbolSequence& keys, const Target& target, Walks& walks);
  int32_t num_runs(const SymbolSequence& keys, const Target& target, int32_t order, int32_t enough);
  void ask_for_next(const Walk& walk, const SymbolSequence& keys, const Target& target, int64_t num_steps);
  void add_level(int32_t order, const SymbolSequence& keys);
  Match walk(const Walk& walk, const SymbolSequence& keys, const Target& target, int32_t enough);

  int32_t symbol_bits_ = 0;           // 1, 2, 4, 8 or 64: the orders are chosen for these
  ContextTables tables_;              // of up to 8 bits
  RunEnds run_ends_;                  // of up to 8 bits, once a level of runs is active
  GrowingArray<int32_t> run_starts_;  // of the first num_run_keys_ keys, once a level of runs is active
  int32_t num_run_keys_ = 0;
  int32_t num_active_ = 0;
  int32_t num_active_runs_ = 0;
  std::array<Level, kMaxLevels> levels_;    // by order, ascending
  std::array<Level, kMaxRuns> run_levels_;  // of 1, 2, ... runs
  int32_t num_filled_ = 0;                  // the keys entered into the tables and the active levels
  uint64_t key_context_ = 0;                // of the last one of these
  uint64_t target_context_ = 0;             // of the search at size target_size_
  int32_t target_size_ = kNoSize;
  GrowingArray<uint32_t> hashes_;  // hashes_[i]: of the first i keys; only as far as a level needs them
  int64_t num_searches_ = 0;
  int64_t num_steps_ = 0;
  int64_t num_wasted_table_steps_ = 0;
  int64_t num_wasted_run_steps_ = 0;
  int64_t allowed_steps_ = kFreeSteps;
};

}  // namespace rosa::automaton
