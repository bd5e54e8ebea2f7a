// PlaceSearch: the fast way to PlaceSums for a document of byte symbols, within a budget of work.
//
// A table holds, of every context of a few symbols, the sums over all its positions so far: it answers short matches.
// The places of a longer one lie in the chain of the positions with the same (hash of the) last m symbols, m at most
// its length. All keys are known before, so the chains of one order are nothing but an array: of every position the one
// before it with the same context. Where a match goes on, its places are those before that go on too; most often there
// is one.
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
#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

template <class Value, class Counter>
struct SummedDocument {
  const uint8_t* key = nullptr;  // with kPadding zeros before and after
  const Value* value = nullptr;
  int32_t size = 0;
  int32_t bits = 8;            // 1, 2, 4 or 8: every key is below 1 << bits
  int32_t first_position = 0;  // of the document, from which positions count
  int32_t value_bits = 8;
  const int32_t* positions = nullptr;
  const int32_t* lengths = nullptr;
  Counter* counts = nullptr;
  Counter* sums = nullptr;

  // Groups of eight value bits. For bytes known before, so that the loops over them vanish.
  static constexpr int32_t kMaxGroups = sizeof(Value);
  using Sums = std::array<BitLanes<Counter>, kMaxGroups>;
  int32_t groups() const { return kMaxGroups == 1 ? 1 : bit_groups(value_bits); }
  int32_t position(int32_t t) const { return positions[t] - first_position; }
  // Whether the places of t are some of those of t - 1, each gone on.
  bool goes_on(int32_t t) const { return t > 0 && lengths[t - 1] > 0 && lengths[t] == lengths[t - 1] + 1; }

  // Writes the row of t. May write up to 7 counters of the next rows too, which come later.
  void write(int32_t t, Counter count, const BitLanes<Counter>* bits_set) const {
    counts[t] = count;
    Counter* row = sums + static_cast<int64_t>(t) * value_bits;
    const int64_t room = static_cast<int64_t>(size - t) * value_bits;
    for (int32_t group = 0; group < groups(); ++group) {
      const int64_t first = int64_t{8} * group;
      if (first + 8 <= room) [[likely]] {
        std::memcpy(row + first, bits_set + group, sizeof(*bits_set));
      } else {
        std::memcpy(row + first, bits_set + group, sizeof(Counter) * static_cast<size_t>(room - first));
      }
    }
  }
  // Writes the row of a t whose match has one place.
  void write_single(int32_t t, int32_t place) const {
    Sums bits_set{};
    add_bits(value[place + 1], groups(), bits_set.data());
    write(t, 1, bits_set.data());
  }
};

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

  static constexpr int32_t kMaxLevels = 10;
  static constexpr int32_t kMaxContextSymbols = kMaxContextBits / kBits;

  // The chains of one order. Positions are stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t num_filled = 0;  // positions entered
    Counter* heads = nullptr;
    Counter* previous = nullptr;
  };

  static int32_t log_size(int32_t size) { return static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size))); }
  // So many symbols that the table is of 256 contexts, or, in long documents, of one for about 16 positions.
  static int32_t table_order(int32_t size) { return std::clamp(log_size(size) - 4, 8, 13) / kBits; }
  static int32_t head_bits(int32_t size) { return std::clamp(log_size(size), 6, 20); }
  static int32_t order_above(int32_t order) { return order + std::max(1, order / 2); }

  uint64_t context(int32_t position) const { return context_before(packed_, position, kBits); }
  static uint32_t index(int32_t order, uint64_t context) {
    return static_cast<uint32_t>(context >> (64 - kBits * order));
  }
  // Whether the last `length` symbols, at most kMaxContextSymbols, are equal.
  static bool are_equal(uint64_t a, uint64_t b, int32_t length) { return (a ^ b) >> (64 - kBits * length) == 0; }

  void enter_until(int32_t end);
  void look_up(int32_t t, int32_t position, int32_t length);
  bool walk(int32_t t, int32_t position, int32_t length);
  void go_on(int32_t t, int32_t position);
  void fill(Level& level, int32_t end);
  uint32_t head_of(int32_t order, int32_t position);
  int32_t groups() const { return Document::kMaxGroups == 1 ? 1 : groups_; }

  const Document& document_;
  const int32_t groups_;
  const int32_t table_order_;
  const int32_t head_bits_;
  const uint8_t* packed_;
  PrefixHashes hashes_;
  Counter* table_counts_;
  Lanes* table_sums_;
  int32_t num_tabled_;  // positions entered into the table
  Counter* places_;     // of the match before, where is_listed_
  int32_t num_places_ = 0;
  bool is_listed_ = false;
  Level levels_[kMaxLevels];
  int32_t num_active_ = 1;
  int64_t num_steps_ = 0;
  int64_t num_wasted_steps_ = 0;
};

template <class Value, class Counter, int32_t kBits>
size_t PlaceSearch<Value, Counter, kBits>::workspace_bytes(int32_t size, int32_t groups) {
  const size_t num_contexts = size_t{1} << (kBits * table_order(size));
  const size_t items = (kMaxLevels + 1) * static_cast<size_t>(size) + (kMaxLevels << head_bits(size)) + num_contexts;
  return packed_workspace(size, kBits) + PrefixHashes::workspace_bytes(size) + sizeof(Counter) * items +
         sizeof(Lanes) * groups * num_contexts + (2 * kMaxLevels + 4) * Workspace::kAlignment;
}

template <class Value, class Counter, int32_t kBits>
PlaceSearch<Value, Counter, kBits>::PlaceSearch(const SummedDocument<Value, Counter>& document, Workspace& workspace)
    : document_(document),
      groups_(document.groups()),
      table_order_(table_order(document.size)),
      head_bits_(head_bits(document.size)),
      packed_(pack_symbols<PortableSimd>(document.key, document.size, kBits, workspace)),
      hashes_(document.key, document.size, workspace),
      num_tabled_(table_order_ - 1),  // those before have contexts with padding
      places_(workspace.take_items<Counter>(document.size)) {
  const size_t num_contexts = size_t{1} << (kBits * table_order_);
  table_counts_ = workspace.take_items<Counter>(num_contexts);
  table_sums_ = workspace.take_items<Lanes>(num_contexts * groups());
  std::memset(table_counts_, 0, sizeof(Counter) * num_contexts);
  std::memset(static_cast<void*>(table_sums_), 0, sizeof(Lanes) * num_contexts * groups());
  int32_t order = table_order_ + 1;
  for (Level& level : levels_) {
    level.order = order;
    level.num_filled = order - 1;
    level.heads = workspace.take_items<Counter>(size_t{1} << head_bits_);
    level.previous = workspace.take_items<Counter>(document.size);
    order = std::min(order_above(order), PrefixHashes::kMaxOrder);
  }
  std::memset(levels_[0].heads, 0, sizeof(Counter) << head_bits_);
}

template <class Value, class Counter, int32_t kBits>
int32_t PlaceSearch<Value, Counter, kBits>::run() {
  for (int32_t t = 0; t < document_.size; ++t) {
    const int32_t length = document_.lengths[t];
    if (length == 0) {
      typename Document::Sums sums{};
      document_.write(t, 0, sums.data());
      num_places_ = 0;
      continue;
    }
    const int32_t position = document_.position(t);
    const bool goes_on = document_.goes_on(t);
    if (goes_on && num_places_ == 1) {
      if (is_listed_) places_[0] = static_cast<Counter>(position);
      document_.write_single(t, position);
    } else if (length <= table_order_) {
      look_up(t, position, length);
    } else if (goes_on && is_listed_) {
      go_on(t, position);
    } else if (!walk(t, position, length)) {
      return t;
    }
    if (num_steps_ > kStepsASymbol * t + kFreeSteps) return t + 1;
  }
  return document_.size;
}

template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::enter_until(int32_t end) {
  for (; num_tabled_ < end; ++num_tabled_) {
    const uint32_t entry = index(table_order_, context(num_tabled_));
    ++table_counts_[entry];
    add_bits(document_.value[num_tabled_ + 1], groups_, table_sums_ + static_cast<size_t>(entry) * groups());
  }
}

// The contexts that end with the last `length` symbols lie side by side. Where these are more than the positions so
// far, and for the first positions, which are in no table, the positions themselves are looked at.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::look_up(int32_t t, int32_t position, int32_t length) {
  is_listed_ = false;
  const uint64_t target = context(position);
  if (length == table_order_) {
    enter_until(t);
    const size_t entry = index(length, target);
    num_places_ = static_cast<int32_t>(table_counts_[entry]);
    document_.write(t, table_counts_[entry], table_sums_ + entry * groups());
    return;
  }
  typename Document::Sums sums{};
  Counter count = 0;
  const int32_t width = 1 << (kBits * (table_order_ - length));
  const bool looks_at_all = position < width;
  if (!looks_at_all) {
    enter_until(t);
    const size_t first = static_cast<size_t>(index(length, target)) * width;
    for (size_t entry = first; entry < first + width; ++entry) {
      count = static_cast<Counter>(count + table_counts_[entry]);
      for (int32_t group = 0; group < groups(); ++group) sums[group] += table_sums_[entry * groups() + group];
    }
  }
  const int32_t end = looks_at_all ? position + 1 : std::min(position + 1, table_order_ - 1);
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
  const int64_t max_steps = kStepsASymbol * t + kFreeSteps;
  const int64_t num_steps_before = num_steps_;
  int32_t chosen = num_active_ - 1;
  while (levels_[chosen].order > length) --chosen;
  Level& level = levels_[chosen];
  if (level.num_filled <= position) fill(level, position + 1);
  const uint64_t target = context(position);
  const int32_t compared = std::min(length, kMaxContextSymbols);
  typename Document::Sums sums{};
  add_bits(document_.value[position + 1], groups(), sums.data());
  places_[0] = static_cast<Counter>(position);
  num_places_ = 1;
  is_listed_ = true;
  for (uint32_t entry = level.previous[position]; entry != 0;) {
    const auto i = static_cast<int32_t>(entry) - 1;
    if (i + 1 < length) break;
    entry = level.previous[i];
    if (++num_steps_ > max_steps) return false;
    if (!are_equal(context(i), target, compared)) continue;
    if (length > compared) {
      num_steps_ += length >> 6;
      if (PortableSimd::common_suffix(document_.key + position, document_.key + i, length) < length) continue;
    }
    places_[num_places_++] = static_cast<Counter>(i);
    add_bits(document_.value[i + 1], groups(), sums.data());
  }
  document_.write(t, static_cast<Counter>(num_places_), sums.data());
  // One more level, once the chains of the highest one have wasted as much as that costs.
  if (chosen != num_active_ - 1 || num_active_ == kMaxLevels || levels_[num_active_].order > length) return true;
  num_wasted_steps_ += num_steps_ - num_steps_before - (num_places_ - 1);
  if (num_wasted_steps_ > document_.size) {
    num_wasted_steps_ = 0;
    std::memset(levels_[num_active_++].heads, 0, sizeof(Counter) << head_bits_);
  }
  return true;
}

// The places of t - 1 whose next key is that of the match's latest place are those of t.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::go_on(int32_t t, int32_t position) {
  const uint8_t symbol = document_.key[position];
  const int32_t num_before = num_places_;
  num_steps_ += num_before;
  num_places_ = 0;
  typename Document::Sums sums{};
  for (int32_t k = 0; k < num_before; ++k) {
    const auto i = static_cast<int32_t>(places_[k]) + 1;
    if (document_.key[i] != symbol) continue;
    places_[num_places_++] = static_cast<Counter>(i);
    add_bits(document_.value[i + 1], groups(), sums.data());
  }
  document_.write(t, static_cast<Counter>(num_places_), sums.data());
}

template <class Value, class Counter, int32_t kBits>
uint32_t PlaceSearch<Value, Counter, kBits>::head_of(int32_t order, int32_t position) {
  if (order > kMaxContextSymbols) return hashes_.of_last(order, position) >> (32 - head_bits_);
  const uint64_t symbols = context(position) >> (64 - kBits * order);
  return static_cast<uint32_t>((symbols * 0x9E3779B97F4A7C15u) >> (64 - head_bits_));
}

// Enters the positions before `end`, and some more: all keys are there.
template <class Value, class Counter, int32_t kBits>
void PlaceSearch<Value, Counter, kBits>::fill(Level& level, int32_t end) {
  constexpr int32_t kBlock = 512;
  end = std::min(document_.size, end + kBlock);
  if (level.order > kMaxContextSymbols) hashes_.extend(end);
  for (int32_t i = level.num_filled; i < end; ++i) {
    Counter& head = level.heads[head_of(level.order, i)];
    level.previous[i] = head;
    head = static_cast<Counter>(i + 1);
  }
  level.num_filled = end;
}

}  // namespace rosa::automaton
