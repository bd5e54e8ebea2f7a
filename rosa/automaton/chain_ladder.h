// The orders of the chains that ChainSearch walks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rosa::automaton {

inline constexpr int32_t kMaxNumOrders = 12;

// Half the memory is worth a second copy of the code: chains are bound by cache misses.
inline constexpr int32_t kMaxShortDocument = 1 << 16;
inline size_t chain_index_bytes(int32_t size) {
  return size <= kMaxShortDocument ? sizeof(uint16_t) : sizeof(uint32_t);
}

// The lowest order whose contexts have a table of their own; below, there are too few contexts to be worth one.
constexpr int32_t first_table_order(int32_t bits) { return bits == 1 ? 6 : bits == 2 ? 3 : 1; }
constexpr int32_t highest_table_order(int32_t bits) { return 16 / bits; }

// The orders, ascending, and the sizes of the tables of their latest positions. The lowest order's table is exact.
struct ChainLadder {
  int32_t num_orders = 0;
  int32_t orders[kMaxNumOrders] = {};
  int32_t head_bits[kMaxNumOrders] = {};

  // Bytes that ChainSearch takes for tables and chains.
  size_t workspace_bytes(int32_t size) const;
};

// Returns the ladder for a document of 1, 2, 4 or 8 bits.
ChainLadder chain_ladder(int32_t size, int32_t bits);

}  // namespace rosa::automaton
