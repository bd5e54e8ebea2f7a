#include <algorithm>
#include <bit>

#include "rosa/automaton/chain_search.h"

namespace rosa::automaton {

// Chosen by measuring (bench/matcher_bench.cpp): an order pays where few positions share its context.
ChainLadder chain_ladder(int32_t size, int32_t bits) {
  const int32_t log_size = static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size)));
  ChainLadder ladder;
  const auto add = [&](int32_t order) {
    // The lowest order's table is exact.
    ladder.head_bits[ladder.num_orders] = ladder.num_orders == 0 ? bits * order : std::clamp(log_size - 1, 6, 16);
    ladder.orders[ladder.num_orders++] = order;
  };
  switch (bits) {
    case 1:
      add(std::clamp(log_size - 2, 4, 15));
      add(20);
      add(40);
      break;
    case 2:
      add(log_size >= 14 ? 7 : log_size >= 10 ? 6 : 3);
      add(12);
      add(24);
      break;
    case 4:
      add(log_size >= 16 ? 4 : log_size >= 9 ? 3 : 2);
      add(5);
      add(8);
      add(14);
      break;
    default:
      for (const int32_t order : {1, 2, 3, 5, 7}) add(order);
      break;
  }
  // Ranges of the lowest table then hold at most 256 heads.
  ladder.coarse_order = std::max(0, ladder.orders[0] - 8 / bits);
  ladder.coarse_bits = bits * ladder.coarse_order;
  return ladder;
}

size_t ChainLadder::workspace_bytes(int32_t size) const {
  size_t num_bytes = (size_t{4} << coarse_bits) + 2 * Workspace::kAlignment;
  for (int32_t i = 0; i < num_orders; ++i) {
    num_bytes += (size_t{4} << head_bits[i]) + size_t{4} * size + 2 * Workspace::kAlignment;
  }
  return num_bytes;
}

}  // namespace rosa::automaton
