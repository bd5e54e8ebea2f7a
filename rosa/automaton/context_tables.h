// ContextTables: the latest position of every short context, of up to order() symbols, among a growing sequence of
// keys. They are as the tables of ChainSearch, but can grow and forget. A context is a word. Its highest bits are the
// last symbols, `bits` each; the latest symbol is on top.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

class ContextTables {
 public:
  ContextTables() = default;
  // Tables of symbols of 1, 2, 4 or 8 bits.
  explicit ContextTables(int32_t bits);

  // The most symbols that a context has: about as many as tell the positions apart. 0: there are no tables.
  int32_t order() const { return order_; }
  // Enters the position after those entered; `context`: the keys up to and including it.
  void enter(uint64_t context);
  // Lengthens the contexts to suit `size` positions. `keys` must hold those that were entered.
  void grow(const SymbolSequence& keys, int32_t size);
  // Forgets the position entered last, given its context.
  void take_back(uint64_t context);

  // Returns the longest, then latest match of the context's last symbols, of at most `limit` and order() symbols.
  Match search(uint64_t context, int32_t limit) const;
  // The positions with the same context of order() symbols, latest first, plus 1: the first, and whence they go on.
  uint32_t first(uint64_t context) const { return latest_[order_][index(order_, context)]; }
  const GrowingArray<uint32_t>& previous() const { return previous_; }

  size_t num_bytes() const;

 private:
  static constexpr int32_t kMaxOrder = 32;

  size_t index(int32_t order, uint64_t context) const { return context >> (64 - bits_ * order); }
  int32_t order_for(int32_t size) const;
  void add_order(const SymbolSequence& keys);

  int32_t bits_ = 0;
  int32_t first_order_ = 0;
  int32_t order_ = 0;
  // Of each order from first_order_ on, of each context the latest position plus 1, or 0. Contexts with the same last
  // symbols lie side by side.
  std::array<std::vector<uint32_t>, kMaxOrder + 1> latest_;
  GrowingArray<uint32_t> previous_;
};

}  // namespace rosa::automaton
