// PlaceSearch: the fast way to PlaceSums for a document of byte symbols, within a budget of work.
//
// Tables hold, of every context of a few symbols, the sums over all its positions so far: they answer short matches.
// The places of a longer one lie in the chain of the positions with the same last m symbols (or their hash), m at most
// its length. All keys are known before, so the chains of one order are nothing but an array: of every position the one
// before it with the same context. Where long chains are asked for at the length of their order again and again, the
// sums along them are kept for every position. Where a match goes on, its places are those before that go on too.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/bit_counters.h"
#include "rosa/automaton/chain_search.h"
#include "rosa/automaton/packed_symbols.h"
#include "rosa/automaton/prefix_hashes.h"
#include "rosa/automaton/simd_portable.h"
#include "rosa/automaton/summed_document.h"
#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

template <class Value, class Counter, int32_t kBits>
class PlaceSearch {
 public:
  static size_t workspace_bytes(int32_t size, int32_t groups);

  PlaceSearch(const SummedDocument<Value, Counter>& document, Workspace& workspace);

  // Writes the sums from the beginning to the end, or to where the budget is spent; returns that position.
  int32_t run();

  int64_t num_steps() const { return num_steps_; }

 private:
  using Document = SummedDocument<Value, Counter>;
  using Lanes = BitLanes<Counter>;
  using Sums = typename Document::Sums;

  static constexpr int32_t kMaxLevels = 12;
  static constexpr int32_t kMaxSummedLevels = 3;
  static constexpr int32_t kMaxContextSymbols = kMaxContextBits / kBits;
  // Of the orders that most of the short matches have: what they answer takes no branch.
  static constexpr int32_t kMaxTables = kBits == 1 ? 4 : kBits == 8 ? 1 : 3;
  // So many places are found again sooner than taken from the list of those before.
  static constexpr int32_t kFewPlaces = 8;

  // The chains of one order. Positions are stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t num_filled = 0;  // positions entered
    bool has_sums = false;
    int64_t num_exact_steps = 0;  // of walks for matches as long as the order
    Counter* heads = nullptr;
    Counter* previous = nullptr;  // previous[-1] is 0, so that the end of a chain leads to itself
    // Of each position the sums over it and all positions of the same context before; the lowest levels have room.
    Counter* counts = nullptr;
    Lanes* sums = nullptr;
  };

  static int32_t log_size(int32_t size) { return static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size))); }
  // The tables' highest order: so many symbols that a context has few positions, and the tables fit the caches.
  static int32_t table_order(int32_t size) {
    switch (kBits) {
      case 1:
        return std::clamp(log_size(size) - 1, 6, 13);
      case 2:
        return std::clamp(log_size(size) / 2 - 1, 3, 6);
      case 4:
        return std::clamp(log_size(size) / 4, 2, 3);
      default:
        return 1;
    }
  }
  static int32_t lowest_table(int32_t size) { return std::max(1, table_order(size) - kMaxTables + 1); }
  static size_t num_contexts(int32_t size) {
    size_t num_contexts = 1;  // one more, whose sums are 0
    for (int32_t m = lowest_table(size); m <= table_order(size); ++m) num_contexts += size_t{1} << (kBits * m);
    return num_contexts;
  }
  static int32_t head_bits(int32_t size) { return std::clamp(log_size(size), 6, 20); }
  static int32_t order_above(int32_t order) { return order + std::max(1, order / 3); }

  uint64_t context(int32_t position) const { return context_before(packed_, position, kBits); }
  static uint32_t index(int32_t order, uint64_t context) {
    return static_cast<uint32_t>(context >> 1 >> (63 - kBits * order));  // of order 0: 0
  }
  // Whether the last `length` symbols, at most kMaxContextSymbols, are equal.
  static bool are_equal(uint64_t a, uint64_t b, int32_t length) { return (a ^ b) >> (64 - kBits * length) == 0; }
  Level& level_for(int32_t length) { return levels_[level_of_[std::min(length, kMaxTold)]]; }

  void look_up(int32_t t, int32_t position, int32_t length);
  bool walk(int32_t t, int32_t position, int32_t length);
  void go_on(int32_t t, int32_t position);
  void judge(Level& level, int32_t t, int32_t length, int64_t num_steps);
  void activate_next();
  void fill(Level& level, int32_t end);
  void sum_chains(Level& level, int32_t begin);
  int32_t groups() const { return Document::kMaxGroups == 1 ? 1 : groups_; }

  const Document& document_;
  const int32_t groups_;
  const int32_t table_order_;
  const int32_t lowest_table_;
  const int32_t head_bits_;
  const uint8_t* packed_;
  PrefixHashes hashes_;
  Counter* table_counts_;
  Lanes* table_sums_;
  std::array<uint32_t, 14> table_first_{};  // of each order the first entry; of 0 that whose sums are 0
  Counter* places_;                         // of the match before, where is_listed_
  int32_t num_places_ = 0;
  bool is_listed_ = false;
  Level levels_[kMaxLevels];
  int32_t num_active_ = 0;
  // Of each length the highest active level that is not above it; the last is that of all longer ones.
  static constexpr int32_t kMaxTold = PrefixHashes::kMaxOrder;
  uint8_t level_of_[kMaxTold + 1];
  int64_t num_steps_ = 0;
  int64_t num_wasted_steps_ = 0;
};

template <class Value, class Counter, int32_t kBits>
size_t PlaceSearch<Value, Counter, kBits>::workspace_bytes(int32_t size, int32_t groups) {
  const size_t num_positions = static_cast<size_t>(size) + Workspace::kAlignment;
  const size_t items =
      (kMaxLevels + kMaxSummedLevels + 1) * num_positions + (kMaxLevels << head_bits(size)) + num_contexts(size);
  return packed_workspace(size, kBits) + PrefixHashes::workspace_bytes(size) + sizeof(Counter) * items +
         sizeof(Lanes) * groups * (num_contexts(size) + kMaxSummedLevels * num_positions) +
         (2 * kMaxLevels + 2 * kMaxSummedLevels + 4) * Workspace::kAlignment;
}

template <class Value, class Counter, int32_t kBits>
PlaceSearch<Value, Counter, kBits>::PlaceSearch(const Document& document, Workspace& workspace)
    : document_(document),
      groups_(document.groups()),
      table_order_(table_order(document.size)),
      lowest_table_(lowest_table(document.size)),
      head_bits_(head_bits(document.size)),
      packed_(pack_symbols<PortableSimd>(document.key, document.size, kBits, workspace)),
      hashes_(document.key, document.size, workspace),
      places_(workspace.take_items<Counter>(document.size + kFewPlaces)) {
  const size_t num_entries = num_contexts(document.size);
  table_counts_ = workspace.take_items<Counter>(num_entries);
  table_sums_ = workspace.take_items<Lanes>(num_entries * groups());
  std::memset(table_counts_, 0, sizeof(Counter) * num_entries);
  std::memset(static_cast<void*>(table_sums_), 0, sizeof(Lanes) * num_entries * groups());
  table_first_[0] = static_cast<uint32_t>(num_entries) - 1;
  uint32_t first = 0;
  for (int32_t m = lowest_table_; m <= table_order_; ++m) {
    table_first_[m] = first;
    first += uint32_t{1} << (kBits * m);
  }
  int32_t order = table_order_ + 1;
  for (int32_t i = 0; i < kMaxLevels; ++i) {
    Level& level = levels_[i];
    level.order = order;
    level.num_filled = order - 1;
    level.heads = workspace.take_items<Counter>(size_t{1} << head_bits_);
    level.previous = workspace.take_items<Counter>(document.size + 1) + 1;
    level.previous[-1] = 0;
    if (i < kMaxSummedLevels) {
      level.counts = workspace.take_items<Counter>(document.size);
      level.sums = workspace.take_items<Lanes>(static_cast<size_t>(document.size) * groups());
    }
    order = std::min(order_above(order), PrefixHashes::kMaxOrder);
  }
  std::memset(level_of_, 0, sizeof(level_of_));
  activate_next();
}

// What is stored could be members, as far as the compiler knows: hence the local copies.
template <class Value, class Counter, int32_t kBits>
int32_t PlaceSearch<Value, Counter, kBits>::run() {
  const Document document = document_;
  const uint8_t* const packed = packed_;
  Counter* const table_counts = table_counts_;
  Lanes* const table_sums = table_sums_;
  const int32_t order = table_order_, lowest = lowest_table_;
  const std::array table_first = table_first_;
  for (int32_t t = 0; t < document.size; ++t) {
    const uint64_t before = context_before(packed, t - 1, kBits);
    const auto enter = [&](int32_t m) {
      const size_t entry = table_first[m] + index(m, before);
      ++table_counts[entry];
      add_bits(document.value[t], groups(), table_sums + entry * groups());
    };
    if (t >= order) [[likely]] {
#pragma GCC unroll 4
      for (int32_t k = 0; k < kMaxTables; ++k) {
        if (kBits == 1 || order - k >= lowest) enter(order - k);
      }
    } else {  // the first positions have no whole contexts
      for (int32_t m = lowest; m <= t; ++m) enter(m);
    }
    const int32_t length = document.lengths[t];
    const int32_t position = document.position(t);
    if (length <= order && (length >= lowest || length == 0)) {
      const size_t entry = table_first[length] + index(length, context_before(packed, std::max(position, -1), kBits));
      document.write(t, table_counts[entry], table_sums + entry * groups());
      num_places_ = static_cast<int32_t>(table_counts[entry]);
      is_listed_ = false;
      continue;
    }
    const bool goes_on = document.goes_on(t);
    if (goes_on && num_places_ == 1) {
      document.write_single(t, position);
      is_listed_ = false;
      continue;
    }
    if (length < lowest) {
      look_up(t, position, length);
    } else if (goes_on && is_listed_) {
      go_on(t, position);
    } else if (!walk(t, position, length)) {
      return t;
    }
    if (num_steps_ > kStepsASymbol * t + kFreeSteps) return t + 1;
  }
  return document.size;
}

// The contexts that end with the last `length` symbols, fewer than the tables', lie side by side. Where these are more
// than the positions so far, and for the first positions, which are in no table, the positions themselves are looked
// at.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::look_up(int32_t t, int32_t position, int32_t length) {
  is_listed_ = false;
  const uint64_t target = context(position);
  Sums sums{};
  Counter count = 0;
  const int32_t lowest = lowest_table_;
  const int32_t width = 1 << (kBits * (lowest - length));
  const bool looks_at_all = position < width;
  if (!looks_at_all) {
    const size_t first = static_cast<size_t>(index(length, target)) * width;
    for (size_t entry = first; entry < first + width; ++entry) {
      count = static_cast<Counter>(count + table_counts_[entry]);
      for (int32_t group = 0; group < groups(); ++group) sums[group] += table_sums_[entry * groups() + group];
    }
  }
  const int32_t end = looks_at_all ? position + 1 : std::min(position + 1, lowest - 1);
  for (int32_t i = length - 1; i < end; ++i) {
    if (!are_equal(context(i), target, length)) continue;
    ++count;
    add_bits(document_.value[i + 1], groups(), sums.data());
  }
  num_steps_ += (looks_at_all ? position : width) / 8;
  num_places_ = static_cast<int32_t>(count);
  document_.write(t, count, sums.data());
}

// Walks the chain of the match's latest place. Returns false where the budget is spent.
template <class Value, class Counter, int32_t kBits>
bool PlaceSearch<Value, Counter, kBits>::walk(int32_t t, int32_t position, int32_t length) {
  Level& level = level_for(length);
  if (level.num_filled <= position) [[unlikely]]
    fill(level, position + 1);
  if (level.has_sums && level.order == length) {
    is_listed_ = false;
    num_places_ = static_cast<int32_t>(level.counts[position]);
    document_.write(t, level.counts[position], level.sums + static_cast<size_t>(position) * groups());
    return true;
  }
  const int64_t max_steps = kStepsASymbol * t + kFreeSteps;
  const uint64_t target = context(position);
  const int32_t compared = std::min(length, kMaxContextSymbols);
  const uint8_t* const key = document_.key;
  const Value* const value = document_.value;
  const Counter* const previous = level.previous;
  Counter* const places = places_;
  Sums sums{};
  add_bits(value[position + 1], groups(), sums.data());
  places[0] = static_cast<Counter>(position);
  int32_t num_places = 1;
  int32_t num_steps = 0;
  int32_t entry = static_cast<int32_t>(previous[position]);
  if (length <= kMaxContextSymbols) {
    // Some candidates without a branch: how many there are is hard to predict.
    constexpr int32_t kUnrolled = 3;
    for (; entry != 0;) {
#pragma GCC unroll 3
      for (int32_t k = 0; k < kUnrolled; ++k) {
        const int32_t i = entry - 1;
        const bool is_place = (entry >= length) & are_equal(context(i), target, compared);
        places[num_places] = static_cast<Counter>(i);
        num_places += is_place ? 1 : 0;
        add_bits_if(is_place, value[entry], groups(), sums.data());
        num_steps += entry != 0 ? 1 : 0;
        entry = static_cast<int32_t>(previous[i]);
      }
      if (num_steps_ + num_steps > max_steps) [[unlikely]] {
        num_steps_ += num_steps;
        return false;
      }
    }
  } else {
    for (; entry >= length; entry = static_cast<int32_t>(previous[entry - 1])) {
      const int32_t i = entry - 1;
      ++num_steps;
      if (num_steps_ + num_steps > max_steps) {
        num_steps_ += num_steps;
        return false;
      }
      if (!are_equal(context(i), target, compared)) continue;
      num_steps += length >> 6;
      if (PortableSimd::common_suffix(key + position, key + i, length) < length) continue;
      places[num_places++] = static_cast<Counter>(i);
      add_bits(value[i + 1], groups(), sums.data());
    }
  }
  num_steps_ += num_steps;
  num_places_ = num_places;
  is_listed_ = true;
  document_.write(t, static_cast<Counter>(num_places), sums.data());
  if (num_steps > kFewPlaces) [[unlikely]]
    judge(level, t, length, num_steps);
  return true;
}

// Takes note of a long walk: sums along the chains, or one more level, come once such walks have cost as much as that.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::judge(Level& level, int32_t t, int32_t length, int64_t num_steps) {
  if (level.order == length) {
    level.num_exact_steps += num_steps;
    if (level.sums == nullptr || level.has_sums || level.num_exact_steps <= t) return;
    level.has_sums = true;
    sum_chains(level, level.order - 1);
  } else if (&level == &levels_[num_active_ - 1] && num_active_ < kMaxLevels && levels_[num_active_].order <= length) {
    num_wasted_steps_ += num_steps;
    if (num_wasted_steps_ <= t) return;
    num_wasted_steps_ = 0;
    activate_next();
  }
}

template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::activate_next() {
  const Level& level = levels_[num_active_];
  std::memset(level.heads, 0, sizeof(Counter) << head_bits_);
  for (int32_t length = level.order; length <= kMaxTold; ++length)
    level_of_[length] = static_cast<uint8_t>(num_active_);
  ++num_active_;
}

// The places of t - 1 whose next key is that of the match's latest place are those of t.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::go_on(int32_t t, int32_t position) {
  const uint8_t symbol = document_.key[position];
  const int32_t num_before = num_places_;
  num_steps_ += num_before;
  num_places_ = 0;
  Sums sums{};
  for (int32_t k = 0; k < num_before; ++k) {
    const auto i = static_cast<int32_t>(places_[k]) + 1;
    if (document_.key[i] != symbol) continue;
    places_[num_places_++] = static_cast<Counter>(i);
    add_bits(document_.value[i + 1], groups(), sums.data());
  }
  document_.write(t, static_cast<Counter>(num_places_), sums.data());
}

// Enters the positions before `end`, and some more: all keys are there.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::fill(Level& level, int32_t end) {
  constexpr int32_t kBlock = 512;
  end = std::min(document_.size, end + kBlock);
  if (level.order > kMaxContextSymbols) hashes_.extend(end);
  const int32_t begin = level.num_filled;
  const int32_t order = level.order;
  Counter* const heads = level.heads;
  Counter* const previous = level.previous;
  const auto enter = [&](int32_t i, uint32_t at) {
    previous[i] = heads[at];
    heads[at] = static_cast<Counter>(i + 1);
  };
  if (order > kMaxContextSymbols) {
    for (int32_t i = begin; i < end; ++i) enter(i, hashes_.of_last(order, i) >> (32 - head_bits_));
  } else if (kBits * order <= head_bits_) {
    for (int32_t i = begin; i < end; ++i) enter(i, index(order, context(i)));
  } else {
    const int32_t shift = 64 - kBits * order, hash_shift = 64 - head_bits_;
    const uint8_t* const packed = packed_;
    for (int32_t i = begin; i < end; ++i) {
      const uint64_t symbols = context_before(packed, i, kBits) >> shift;
      enter(i, static_cast<uint32_t>((symbols * 0x9E3779B97F4A7C15u) >> hash_shift));
    }
  }
  level.num_filled = end;
  if (level.has_sums) sum_chains(level, begin);
}

// Sums along the chains for the filled positions from `begin` on.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::sum_chains(Level& level, int32_t begin) {
  const int32_t end = std::min(level.num_filled, document_.size - 1);  // nothing follows the last one
  const int32_t compared = std::min(level.order, kMaxContextSymbols);
  const int64_t max_steps = kStepsASymbol * document_.size + kFreeSteps;
  for (int32_t i = begin; i < end; ++i) {
    const uint64_t target = context(i);
    auto entry = static_cast<int32_t>(level.previous[i]);
    // Another context of the same hash.
    for (; entry != 0 && !are_equal(context(entry - 1), target, compared); ++num_steps_) {
      entry = static_cast<int32_t>(level.previous[entry - 1]);
      if (num_steps_ <= max_steps) continue;
      level.has_sums = false;  // the automaton takes over
      return;
    }
    Lanes* sums = level.sums + static_cast<size_t>(i) * groups();
    const Lanes* sums_before = level.sums + static_cast<size_t>(entry - 1) * groups();
    level.counts[i] = static_cast<Counter>(entry == 0 ? 1 : level.counts[entry - 1] + 1);
    for (int32_t group = 0; group < groups(); ++group) sums[group] = entry == 0 ? Lanes{} : sums_before[group];
    add_bits(document_.value[i + 1], groups(), sums);
  }
}

}  // namespace rosa::automaton
