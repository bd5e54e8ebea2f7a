// BitCounters: how many symbols have each bit set, as lanes of eight counters that are added at once.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace rosa::automaton {

// Eight counters, one for each bit of a byte.
template <class Counter>
struct BitLanes {
  typedef Counter Vector __attribute__((vector_size(8 * sizeof(Counter))));
  Vector lanes;

  BitLanes& operator+=(const BitLanes& other) {
    lanes += other.lanes;
    return *this;
  }
  BitLanes& operator-=(const BitLanes& other) {
    lanes -= other.lanes;
    return *this;
  }
};

// The bits of each byte.
template <class Counter>
inline constexpr auto kBitsOfByte = [] {
  std::array<BitLanes<Counter>, 256> all{};
  for (unsigned byte = 0; byte < all.size(); ++byte) {
    const auto bit = [byte](unsigned place) { return static_cast<Counter>(byte >> place & 1); };
    all[byte].lanes =
        typename BitLanes<Counter>::Vector{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), bit(7)};
  }
  return all;
}();

inline constexpr int32_t bit_groups(int32_t num_bits) { return (num_bits + 7) / 8; }

// Adds a symbol's bits to `bit_groups` lanes of counters.
template <class Counter>
inline void add_bits(uint8_t symbol, int32_t /*groups*/, BitLanes<Counter>* counters) {
  *counters += kBitsOfByte<Counter>[symbol];
}
template <class Counter>
inline void add_bits(uint64_t symbol, int32_t groups, BitLanes<Counter>* counters) {
  for (int32_t group = 0; group < groups; ++group, symbol >>= 8) counters[group] += kBitsOfByte<Counter>[symbol & 255];
}

// Adds them, or nothing, without a branch.
template <class Counter>
inline void add_bits_if(bool condition, uint8_t symbol, int32_t groups, BitLanes<Counter>* counters) {
  add_bits(static_cast<uint8_t>(condition ? symbol : 0), groups, counters);
}
template <class Counter>
inline void add_bits_if(bool condition, uint64_t symbol, int32_t groups, BitLanes<Counter>* counters) {
  add_bits(condition ? symbol : uint64_t{0}, groups, counters);
}

}  // namespace rosa::automaton
