// The explicit edges of BatchAutomaton's states, by byte symbol. Two forms with one interface: a row of targets a state
// for small alphabets, else lists.
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

// A state's first edge lies in its own place and most states have no more; the others are a list. Long lists are found
// through a hash table.
template <class Simd>
class ListEdges {
 public:
  // What the 23 bits of Edge::next can number.
  static constexpr int64_t kMaxStates = int64_t{1} << 22;

  static size_t workspace_bytes(int64_t max_states) {
    return sizeof(Edge) * max_states + sizeof(Edge) * max_edges(max_states) + sizeof(Slot) * num_slots(max_states) +
           6 * Workspace::kAlignment;
  }

  ListEdges(int64_t max_states, Workspace& workspace)
      : num_slots_(static_cast<uint32_t>(num_slots(max_states))),
        first_(workspace.take_items<Edge>(max_states)),
        others_(workspace.take_items<Edge>(max_edges(max_states))),
        slots_(workspace.take_items<Slot>(num_slots_)) {
    std::memset(slots_, 0, sizeof(Slot) * num_slots_);
  }

  void add_state(int32_t state) { first_[state] = {}; }

  int32_t find(int32_t state, uint8_t symbol) const {
    const Edge* edge = find_edge(state, symbol);
    return edge == nullptr ? 0 : edge->target;
  }

  void add(int32_t state, uint8_t symbol, int32_t target) {
    Edge& first = first_[state];
    if (first.target == 0) {
      first = {target, symbol, 0, 0};
      return;
    }
    others_[num_others_] = {target, symbol, first.next, 0};
    first.next = ++num_others_;
    if (first.is_hashed != 0) {
      insert_hashed(state, first.next);
    } else if (length_of(state) > kMaxListLength) {
      first.is_hashed = 1;
      for (uint32_t edge = first.next; edge != 0; edge = others_[edge - 1].next) insert_hashed(state, edge);
    }
  }

  void redirect(int32_t state, uint8_t symbol, int32_t target) { find_edge(state, symbol)->target = target; }

  void copy(int32_t source, int32_t state) {
    if (first_[source].target == 0) return;
    add(state, static_cast<uint8_t>(first_[source].symbol), first_[source].target);
    for (uint32_t edge = first_[source].next; edge != 0; edge = others_[edge - 1].next) {
      add(state, static_cast<uint8_t>(others_[edge - 1].symbol), others_[edge - 1].target);
    }
  }

 private:
  static constexpr int32_t kMaxListLength = 6;

  struct Edge {
    int32_t target = 0;  // 0: there is no edge here
    uint32_t symbol : 8 = 0;
    uint32_t next : 23 = 0;      // the next edge of the state in others_, plus 1; 0: none
    uint32_t is_hashed : 1 = 0;  // in a first edge: the state's other edges are in the hash table
  };
  struct Slot {
    uint32_t key;   // 0: free
    uint32_t edge;  // in others_, plus 1
  };

  static int64_t max_edges(int64_t max_states) { return kMaxExplicitEdgesASymbol * max_states / kMaxStatesASymbol; }
  // At most two thirds of the slots are ever used.
  static int64_t num_slots(int64_t max_states) { return std::max<int64_t>(64, max_edges(max_states) * 3 / 2); }
  static uint32_t key_of(int32_t state, uint8_t symbol) { return static_cast<uint32_t>(state) * 256 + symbol + 1; }

  int32_t length_of(int32_t state) const {
    int32_t length = 1;
    for (uint32_t edge = first_[state].next; edge != 0; edge = others_[edge - 1].next) ++length;
    return length;
  }

  Edge* find_edge(int32_t state, uint8_t symbol) const {
    Edge& first = first_[state];
    if (first.target == 0) return nullptr;
    if (first.symbol == symbol) return &first;
    if (first.is_hashed != 0) {
      const uint32_t edge = slots_[slot_of(key_of(state, symbol))].edge;
      return edge == 0 ? nullptr : &others_[edge - 1];
    }
    for (uint32_t edge = first.next; edge != 0; edge = others_[edge - 1].next) {
      if (others_[edge - 1].symbol == symbol) return &others_[edge - 1];
    }
    return nullptr;
  }

  void insert_hashed(int32_t state, uint32_t edge) {
    const uint32_t key = key_of(state, static_cast<uint8_t>(others_[edge - 1].symbol));
    slots_[slot_of(key)] = {key, edge};
  }

  // Returns the slot that holds the key, or the free one where it belongs.
  uint32_t slot_of(uint32_t key) const {
    uint32_t hash = key * 0x9E3779B1u;
    hash = (hash ^ hash >> 15) * 0x85EBCA6Bu;
    auto slot = static_cast<uint32_t>((uint64_t{hash} * num_slots_) >> 32);
    while (slots_[slot].key != key && slots_[slot].key != 0) slot = slot + 1 == num_slots_ ? 0 : slot + 1;
    return slot;
  }

  uint32_t num_slots_;
  Edge* first_;   // of each state
  Edge* others_;  // of all states
  Slot* slots_;
  uint32_t num_others_ = 0;
};

}  // namespace rosa::automaton
