#include <algorithm>
#include <bit>
#include <initializer_list>

#include "rosa/automaton/chain_search.h"

namespace rosa::automaton {

// Chosen by measuring (bench/matcher_bench.cpp): an order pays where few positions share its context.
ChainLadder chain_ladder(int32_t size, int32_t bits) {
  const int32_t log_size = static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size)));
  // The lowest order's table is exact. To clear one of 2^16 heads pays from about a thousand symbols on.
  const bool is_long = log_size > 10;
  ChainLadder ladder;
  const auto use = [&](std::initializer_list<int32_t> orders) {
    for (const int32_t order : orders) {
      const bool is_lowest = ladder.num_orders == 0;
      ladder.head_bits[ladder.num_orders] = is_lowest ? bits * order : std::clamp(log_size - 1, 6, 16);
      ladder.orders[ladder.num_orders++] = order;
    }
  };
  switch (bits) {
    case 1:
      use({std::clamp(log_size - 2, 4, 15), 20, 40});
      break;
    case 2:
      use({log_size > 14 ? 8 : is_long ? 6 : 3, 12, 24});
      break;
    case 4:
      use({log_size > 11 ? 4 : log_size > 7 ? 3 : 2, 8, 14});
      break;
    default:
      if (is_long) {
        use({2, 3, 4, 6});
      } else {
        use({1, 2, 3, 5});
      }
      break;
  }
  return ladder;
}

size_t ChainLadder::workspace_bytes(int32_t size) const {
  const size_t index_bytes = chain_index_bytes(size);
  const int32_t bits = head_bits[0] / orders[0];
  size_t num_bytes = 0;
  for (int32_t order = 1; order < orders[0]; ++order) {
    num_bytes += (index_bytes << (bits * order)) + 2 * Workspace::kAlignment;
  }
  for (int32_t i = 0; i < num_orders; ++i) {
    num_bytes += (index_bytes << head_bits[i]) + index_bytes * size + 2 * Workspace::kAlignment;
  }
  return num_bytes;
}

}  // namespace rosa::automaton
