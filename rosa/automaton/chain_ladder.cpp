#include "rosa/automaton/chain_ladder.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

// Chosen by measuring (bench/matcher_bench.cpp). The lowest order: so high that few random positions share a context,
// but its tables must be cleared. The next ones are close together; far up, a ratio of two does.
ChainLadder chain_ladder(int32_t size, int32_t bits) {
  const int32_t log_size = static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size)));
  ChainLadder ladder;
  const auto use = [&](std::initializer_list<int32_t> orders) {
    for (const int32_t order : orders) {
      const bool is_lowest = ladder.num_orders == 0;
      ladder.head_bits[ladder.num_orders] = is_lowest ? bits * order : std::clamp(log_size, 6, 16);
      ladder.orders[ladder.num_orders++] = order;
    }
  };
  switch (bits) {
    case 1:
      use({std::clamp(log_size + 1, 6, 13), 20, 32, 48, 80, 128, 256, 512});
      break;
    case 2:
      use({std::clamp(log_size / 2 + 1, 3, 8), 10, 16, 24, 40, 80, 160, 320});
      break;
    case 4:
      use({log_size > 11 ? 4 : log_size > 7 ? 3 : 2, 6, 9, 14, 24, 48, 96, 192, 384});
      break;
    default:
      if (log_size <= 10) {
        use({1, 2, 3, 5, 10, 20, 40, 80});
      } else if (log_size <= 11) {
        use({2, 4});
      } else {
        use({2, 3, 4, 6, 12, 24, 48, 96, 192, 384});
      }
      break;
  }
  return ladder;
}

size_t ChainLadder::workspace_bytes(int32_t size) const {
  const size_t index_bytes = chain_index_bytes(size);
  const int32_t bits = head_bits[0] / orders[0];
  size_t num_bytes = 0;
  for (int32_t order = first_table_order(bits); order < orders[0]; ++order) {
    num_bytes += (index_bytes << (bits * order)) + Workspace::kAlignment;
  }
  for (int32_t i = 0; i < num_orders; ++i) {
    num_bytes += (index_bytes << head_bits[i]) + index_bytes * size + 2 * Workspace::kAlignment;
  }
  return num_bytes;
}

}  // namespace rosa::automaton
