// The explicit edges of BatchAutomaton's states, by byte symbol. Two forms with one interface: a row of targets a state
// for small alphabets, one hash table for all states else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

// A suffix automaton of n symbols has at most 3n edges; those along the sequence itself are implicit.
inline constexpr int32_t kMaxStatesASymbol = 2;
inline constexpr int32_t kMaxExplicitEdgesASymbol = 2;

// State 0, the root, is never a target: 0 means no edge.
template <class Simd, int32_t kNumSymbols>
class RowEdges {
 public:
  static size_t workspace_bytes(int64_t max_states) {
    return sizeof(int32_t) * kNumSymbols * max_states + 2 * Workspace::kAlignment;
  }

  RowEdges(int64_t max_states, Workspace& workspace)
      : targets_(workspace.take_items<int32_t>(kNumSymbols * max_states)) {}

  void add_state(int32_t state) { std::memset(row(state), 0, sizeof(int32_t) * kNumSymbols); }
  int32_t find(int32_t state, uint8_t symbol) const { return row(state)[symbol]; }
  void add(int32_t state, uint8_t symbol, int32_t target) { row(state)[symbol] = target; }
  void redirect(int32_t state, uint8_t symbol, int32_t target) { row(state)[symbol] = target; }
  void copy(int32_t source, int32_t state) { std::memcpy(row(state), row(source), sizeof(int32_t) * kNumSymbols); }

 private:
  int32_t* row(int32_t state) const { return targets_ + static_cast<int64_t>(state) * kNumSymbols; }

  int32_t* targets_;
};

template <class Simd>
class HashEdges {
 public:
  // A slot's key holds state and symbol in 32 bits.
  static constexpr int64_t kMaxStates = int64_t{1} << 23;

  static size_t workspace_bytes(int64_t max_states) {
    return sizeof(Slot) * num_slots(max_states) + sizeof(uint32_t) * max_states + 4 * Workspace::kAlignment;
  }

  HashEdges(int64_t max_states, Workspace& workspace)
      : num_slots_(static_cast<uint32_t>(num_slots(max_states))),
        slots_(workspace.take_items<Slot>(num_slots_)),
        first_(workspace.take_items<uint32_t>(max_states)) {
    std::memset(slots_, 0, sizeof(Slot) * num_slots_);
  }

  void add_state(int32_t state) { first_[state] = 0; }
  int32_t find(int32_t state, uint8_t symbol) const {
    return first_[state] == 0 ? 0 : slots_[slot_of(key_of(state, symbol))].target;
  }
  void add(int32_t state, uint8_t symbol, int32_t target) {
    const uint32_t key = key_of(state, symbol);
    const uint32_t slot = slot_of(key);
    slots_[slot] = {key, target, first_[state]};
    first_[state] = slot + 1;
  }
  void redirect(int32_t state, uint8_t symbol, int32_t target) {
    slots_[slot_of(key_of(state, symbol))].target = target;
  }
  void copy(int32_t source, int32_t state) {
    for (uint32_t entry = first_[source]; entry != 0; entry = slots_[entry - 1].next) {
      add(state, static_cast<uint8_t>(slots_[entry - 1].key - 1), slots_[entry - 1].target);
    }
  }

 private:
  struct Slot {
    uint32_t key;  // 0: free
    int32_t target;
    uint32_t next;  // the next edge of the same state: its slot plus 1; 0: none
  };

  // At most half of the slots are ever used.
  static int64_t num_slots(int64_t max_states) {
    return std::max<int64_t>(64, 2 * kMaxExplicitEdgesASymbol * max_states / kMaxStatesASymbol);
  }
  static uint32_t key_of(int32_t state, uint8_t symbol) { return static_cast<uint32_t>(state) * 256 + symbol + 1; }

  // Returns the slot that holds the key, or the free one where it belongs.
  uint32_t slot_of(uint32_t key) const {
    auto slot = static_cast<uint32_t>((uint64_t{key * 0x9E3779B1u} * num_slots_) >> 32);
    while (slots_[slot].key != key && slots_[slot].key != 0) slot = slot + 1 == num_slots_ ? 0 : slot + 1;
    return slot;
  }

  uint32_t num_slots_;
  Slot* slots_;
  uint32_t* first_;  // the first edge of each state: its slot plus 1; 0: none
};

}  // namespace rosa::automaton
