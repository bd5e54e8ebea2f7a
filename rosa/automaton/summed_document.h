// SummedDocument: what the two ways to PlaceSums read and write, for a document of byte symbols.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/bit_counters.h"

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
    const auto room = static_cast<size_t>(size - t) * static_cast<size_t>(value_bits);
    const size_t num_lanes = size_t{8} * static_cast<size_t>(groups());
    if (num_lanes <= room) [[likely]] {
      std::memcpy(row, bits_set, sizeof(Counter) * num_lanes);
    } else {
      std::memcpy(row, bits_set, sizeof(Counter) * room);
    }
  }
  // Writes the row of a t whose match has one place.
  void write_single(int32_t t, int32_t place) const {
    Sums bits_set{};
    add_bits(value[place + 1], groups(), bits_set.data());
    write(t, 1, bits_set.data());
  }
};

}  // namespace rosa::automaton
