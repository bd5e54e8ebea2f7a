#include "rosa/automaton/symbol_edges.h"

#include <algorithm>

namespace rosa::automaton {

int32_t SymbolEdges::add_state() {
  lists_.emplace_back();
  return static_cast<int32_t>(lists_.size()) - 1;
}

int32_t SymbolEdges::find(int32_t state, uint64_t symbol) const {
  const int32_t edge = find_edge(state, symbol);
  return edge == kNone ? kNone : edges_[edge].target;
}

void SymbolEdges::add(int32_t state, uint64_t symbol, int32_t target) {
  const int32_t edge = static_cast<int32_t>(edges_.size());
  List& list = lists_[state];
  edges_.push_back({symbol, state, target, list.first});
  list.first = edge;
  ++list.length;
  if (list.length == kMaxListLength + 1) {
    for (int32_t each = list.first; each != kNone; each = edges_[each].next) insert_hashed(each);
  } else if (list.length > kMaxListLength) {
    insert_hashed(edge);
  }
}

void SymbolEdges::redirect(int32_t state, uint64_t symbol, int32_t target) {
  edges_[find_edge(state, symbol)].target = target;
}

void SymbolEdges::copy(int32_t source, int32_t state) {
  for (int32_t edge = lists_[source].first; edge != kNone; edge = edges_[edge].next) {
    add(state, edges_[edge].symbol, edges_[edge].target);
  }
}

int32_t SymbolEdges::find_edge(int32_t state, uint64_t symbol) const {
  const List& list = lists_[state];
  if (list.length <= kMaxListLength) {
    int32_t edge = list.first;
    while (edge != kNone && edges_[edge].symbol != symbol) edge = edges_[edge].next;
    return edge;
  }
  const uint64_t mask = table_.size() - 1;
  for (uint64_t slot = slot_of(state, symbol);; slot = (slot + 1) & mask) {
    const int32_t edge = table_[slot];
    if (edge == kNone || (edges_[edge].state == state && edges_[edge].symbol == symbol)) return edge;
  }
}

uint64_t SymbolEdges::slot_of(int32_t state, uint64_t symbol) const {
  // The finaliser of MurmurHash3: every bit of the symbol reaches every bit of the slot.
  uint64_t hash = symbol + static_cast<uint64_t>(state) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (hash >> 33)) * 0xFF51AFD7ED558CCDu;
  hash = (hash ^ (hash >> 33)) * 0xC4CEB9FE1A85EC53u;
  return (hash ^ (hash >> 33)) & (table_.size() - 1);
}

void SymbolEdges::insert_hashed(int32_t edge) {
  if (static_cast<uint64_t>(num_hashed_ + 1) * 2 > table_.size()) grow_table();
  const uint64_t mask = table_.size() - 1;
  uint64_t slot = slot_of(edges_[edge].state, edges_[edge].symbol);
  while (table_[slot] != kNone) slot = (slot + 1) & mask;
  table_[slot] = edge;
  ++num_hashed_;
}

void SymbolEdges::grow_table() {
  std::vector<int32_t> old(std::max<size_t>(64, table_.size() * 2), kNone);
  old.swap(table_);
  num_hashed_ = 0;
  for (const int32_t edge : old) {
    if (edge != kNone) insert_hashed(edge);
  }
}

}  // namespace rosa::automaton
