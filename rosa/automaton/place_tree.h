// PlaceTree: how many places of an interval are entered, and the sums of their bits: a Fenwick tree of counters.
#pragma once

#include <cstdint>
#include <cstring>

#include "rosa/automaton/bit_counters.h"
#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

template <class Counter>
class PlaceTree {
 public:
  static size_t workspace_bytes(int32_t size, int32_t groups) {
    const auto nodes = static_cast<size_t>(size) + 1;
    return (sizeof(Counter) + sizeof(BitLanes<Counter>) * groups) * nodes + 2 * Workspace::kAlignment;
  }

  // For the places 0 ... size - 1, none of them entered; `groups`: of eight bits of a symbol.
  PlaceTree(int32_t size, int32_t groups, Workspace& workspace)
      : size_(size),
        groups_(groups),
        counts_(workspace.take_items<Counter>(static_cast<size_t>(size) + 1)),
        sums_(workspace.take_items<BitLanes<Counter>>((static_cast<size_t>(size) + 1) * groups)) {
    std::memset(counts_, 0, sizeof(Counter) * (static_cast<size_t>(size) + 1));
    std::memset(static_cast<void*>(sums_), 0, sizeof(BitLanes<Counter>) * (static_cast<size_t>(size) + 1) * groups);
  }

  template <class Value>
  void enter(int32_t place, Value value) {
    for (int32_t node = place + 1; node <= size_; node += node & -node, ++num_steps_) {
      ++counts_[node];
      add_bits(value, groups_, sums_of(node));
    }
  }

  // Returns how many of the places begin ... end - 1 are entered, and adds the sums of their bits to `sums`.
  Counter count(int32_t begin, int32_t end, BitLanes<Counter>* sums) {
    Counter count = 0;
    // Where the ways of both ends meet, the rest is the same.
    while (begin != end) {
      ++num_steps_;
      const bool is_end = end > begin;
      int32_t& node = is_end ? end : begin;
      count = static_cast<Counter>(is_end ? count + counts_[node] : count - counts_[node]);
      for (int32_t group = 0; group < groups_; ++group) {
        is_end ? sums[group] += sums_of(node)[group] : sums[group] -= sums_of(node)[group];
      }
      node -= node & -node;
    }
    return count;
  }

  int64_t num_steps() const { return num_steps_; }

 private:
  BitLanes<Counter>* sums_of(int32_t node) const { return sums_ + static_cast<size_t>(node) * groups_; }

  int32_t size_;
  int32_t groups_;
  Counter* counts_;
  BitLanes<Counter>* sums_;
  int64_t num_steps_ = 0;
};

}  // namespace rosa::automaton
