// StreamingPlaces: what follows all places of the matches of a growing sequence (place_sums.h), beside the keys and
// matches that StreamingMatcher has. Sums of short contexts come from a table, longer matches from chains, as in
// PlaceSearch; where these are slow, the order of all prefixes answers (prefix_order.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/boxed.h"
#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/prefix_order.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

// The values of a sequence whose keys begin at `first`; values[first + i] belongs to key i.
struct ValueBits {
  const SymbolSequence& values;
  int64_t first;
  int32_t num_bits;
};

// Copies are independent of each other.
class StreamingPlaces {
 public:
  // Returns how many places the match of the last query has, and writes to sums[j] how many of the values after them
  // have bit j; zeros where nothing matches.
  //   keys: all so far, the last one included; match: its position counts from the first of them.
  //   values: as many as keys. Their bits are the same number in every call, and so are those of before.
  // Amortised O(log n) a call on every input, for each value bit.
  uint32_t count(const SymbolSequence& keys, const Match& match, const ValueBits& values, std::span<uint32_t> sums);

  // Forgets the keys from `size` on, which `keys` still holds, and their values.
  void rewind(const SymbolSequence& keys, int32_t size);

  // Candidates looked at, and what costs as much: the work done.
  int64_t num_steps() const { return num_steps_ + (order_ ? order_->num_steps() : 0); }
  size_t num_bytes() const;

 private:
  static constexpr int32_t kMaxLevels = 12;
  static constexpr int64_t kStepsACall = 24;
  static constexpr int64_t kFreeSteps = 16384;
  static constexpr int32_t kMinHeadBits = 4;
  static constexpr int32_t kMaxHeadBits = 29;
  static constexpr int32_t kLanes = 8;  // value bits are counted in groups of so many

  // All positions with the same hash of the last `order` keys, latest first, stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t head_bits = 0;
    bool has_sums = false;
    int64_t num_exact_steps = 0;  // of walks for matches as long as the order
    std::vector<uint32_t> heads;
    GrowingArray<uint32_t> previous;
    // Where has_sums holds, of each position the sums over it and all positions of the same context before.
    GrowingArray<uint32_t> counts;
    GrowingArray<uint32_t> sums;  // num_lanes_ each
  };

  using Lanes = std::array<uint32_t, 64>;

  bool has_table() const { return symbol_bits_ <= 8; }
  bool is_spent() const { return num_steps_ > kFreeSteps + kStepsACall * num_calls_; }
  int32_t max_order() const { return has_table() ? 64 / symbol_bits_ : 8; }
  void choose_orders(int32_t num_bits);
  void add_value(uint64_t value, uint32_t* lanes) const;
  void take_value(uint64_t value, uint32_t* lanes) const;

  uint64_t target_context(const SymbolSequence& keys, const Match& match);
  uint64_t hash_source(const SymbolSequence& keys, int32_t order, int32_t position, uint64_t context) const;
  void fill(const SymbolSequence& keys);
  void enter(Level& level, const SymbolSequence& keys, int32_t position, uint64_t context);
  void enter_again(Level& level, const SymbolSequence& keys);
  void add_sums(Level& level, const SymbolSequence& keys, int32_t position);
  uint32_t look_up(const SymbolSequence& keys, const Match& match, uint64_t context, Lanes& lanes);
  bool walk(const SymbolSequence& keys, const Match& match, Lanes& lanes);
  void judge(Level& level, const SymbolSequence& keys, int32_t length, int64_t num_steps);
  void go_on(const SymbolSequence& keys, const Match& match, Lanes& lanes);
  void count_in_order(const SymbolSequence& keys, const Match& match, std::span<uint32_t> sums);

  int32_t symbol_bits_ = 0;      // 1, 2, 4, 8 or 64
  int32_t table_order_ = 0;      // symbols of the table's contexts
  SymbolSequence followers_;     // the value after each key but the last
  std::vector<uint32_t> table_;  // of each context num_lanes_ sums of the values' bits, and before these the count
  int32_t num_entered_ = 0;      // positions entered into the table and the levels
  uint64_t key_context_ = 0;     // of the last one of these
  uint64_t target_context_ = 0;  // of the match of the call before, where size_before_ tells that there was one
  int32_t value_bits_ = 0;
  int32_t num_lanes_ = 0;
  std::array<Level, kMaxLevels> levels_;  // by order, ascending
  int32_t num_levels_ = 0;
  Boxed<PrefixOrder> order_;  // once the chains are too slow
  // Of the call before: the size and the match, how many places, and these where they are known.
  int32_t size_before_ = 0;
  Match match_before_;
  uint32_t num_places_ = 0;
  bool is_listed_ = false;
  std::vector<int32_t> places_;
  int64_t num_calls_ = 0;
  int64_t num_steps_ = 0;
  int64_t num_wasted_steps_ = 0;
};

}  // namespace rosa::automaton
