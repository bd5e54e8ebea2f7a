// MaxTree: the greatest mark in a range of places, for marks that only grow: a tree of 16 children a node.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

template <class Simd>
class MaxTree {
 public:
  static size_t workspace_bytes(int32_t size) { return sizeof(int32_t) * num_places(size) + 2 * Workspace::kAlignment; }

  MaxTree(int32_t size, Workspace& workspace) : places_(workspace.take_items<int32_t>(num_places(size))) {
    std::memset(places_, 0xFF, sizeof(int32_t) * num_places(size));
    int64_t offset = 0;
    for (int64_t width = rounded(size);; width = rounded(width / 16)) {
      levels_[num_levels_++] = places_ + offset;
      offset += width;
      if (width <= 16) break;
    }
  }

  // Sets a place to `mark`, which no earlier mark exceeds.
  void mark(int32_t place, int32_t mark) {
    for (int32_t level = 0; level < num_levels_; ++level, place >>= 4) levels_[level][place] = mark;
  }

  // Returns the greatest mark in the places begin ... end - 1, or -1.
  int32_t max(int32_t begin, int32_t end) const {
    int32_t result = -1;
    for (int32_t level = 0; begin < end; ++level) {
      const int32_t* places = levels_[level];
      const int32_t first_block = begin & ~15;
      if (end - first_block <= 16) {
        return std::max(result, Simd::max_of_16(places + first_block, begin - first_block, end - first_block));
      }
      // The ragged ends; what lies between is whole nodes of the next level.
      if (begin != first_block)
        result = std::max(result, Simd::max_of_16(places + first_block, begin - first_block, 16));
      const int32_t last_block = end & ~15;
      if (end != last_block) result = std::max(result, Simd::max_of_16(places + last_block, 0, end - last_block));
      begin = (begin + 15) >> 4;
      end >>= 4;
    }
    return result;
  }

 private:
  static constexpr int32_t kMaxLevels = 8;

  static int64_t rounded(int64_t width) { return (width + 15) / 16 * 16; }
  static int64_t num_places(int32_t size) {
    int64_t total = 0;
    for (int64_t width = rounded(size);; width = rounded(width / 16)) {
      total += width;
      if (width <= 16) return total;
    }
  }

  int32_t* places_;
  int32_t* levels_[kMaxLevels] = {};
  int32_t num_levels_ = 0;
};

}  // namespace rosa::automaton
