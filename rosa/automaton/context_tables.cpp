#include "rosa/automaton/context_tables.h"

#include <algorithm>
#include <bit>

#include "rosa/automaton/chain_ladder.h"

namespace rosa::automaton {

ContextTables::ContextTables(int32_t bits) : bits_(bits), first_order_(first_table_order(bits)), order_(first_order_) {
  latest_[order_].resize(size_t{1} << (bits_ * order_));
}

int32_t ContextTables::order_for(int32_t size) const {
  // Contexts of few bits can be as many as twice the positions: that saves more walks than it costs memory.
  const int32_t num_bits = std::bit_width(static_cast<uint32_t>(size)) + (bits_ <= 2 ? 1 : 0);
  return std::max(first_order_, num_bits / bits_);
}

void ContextTables::grow(const SymbolSequence& keys, int32_t size) {
  while (order_ < order_for(size)) add_order(keys);
}

// The chains are of the highest order only: they are entered again.
void ContextTables::add_order(const SymbolSequence& keys) {
  ++order_;
  std::vector<uint32_t>& latest = latest_[order_];
  latest.resize(size_t{1} << (bits_ * order_));
  uint64_t context = 0;
  for (uint32_t i = 0; i < previous_.size(); ++i) {
    context = context >> bits_ | keys[static_cast<int32_t>(i)] << (64 - bits_);
    uint32_t& entry = latest[index(order_, context)];
    previous_[i] = entry;
    entry = i + 1;
  }
}

void ContextTables::enter(uint64_t context) {
  const auto entry = static_cast<uint32_t>(previous_.size()) + 1;
  uint32_t& last = latest_[order_][index(order_, context)];
  previous_.push_back(last);
  last = entry;
  for (int32_t m = first_order_; m < order_; ++m) latest_[m][index(m, context)] = entry;
}

void ContextTables::take_back(uint64_t context) {
  const size_t position = previous_.size() - 1;
  latest_[order_][index(order_, context)] = previous_[position];
  previous_.truncate(position);
  for (int32_t m = order_ - 1; m >= first_order_; --m) {
    const size_t at = index(m, context);
    const uint32_t* first = latest_[m + 1].data() + (at << bits_);
    latest_[m][at] = *std::max_element(first, first + (size_t{1} << bits_));
  }
}

Match ContextTables::search(uint64_t context, int32_t limit) const {
  // No branch depends on what is read: the tables' cache misses come at once.
  int32_t length = first_order_ - 1;
  for (int32_t m = first_order_; m <= order_; ++m) {
    // Before position m - 1 the context begins with padding. Such entries are older than any other.
    length += latest_[m][index(m, context)] >= static_cast<uint32_t>(m) ? 1 : 0;
  }
  length = std::min(length, limit);
  for (int32_t m = length; m > 0; --m) {
    const int32_t order = std::max(m, first_order_);
    const size_t width = size_t{1} << (bits_ * (order - m));
    const uint32_t* first = latest_[order].data() + index(m, context) * width;
    const uint32_t entry = *std::max_element(first, first + width);
    if (entry >= static_cast<uint32_t>(m)) return {static_cast<int32_t>(entry) - 1, m};
  }
  return {};
}

size_t ContextTables::num_bytes() const {
  size_t num_bytes = previous_.num_bytes();
  for (const auto& latest : latest_) num_bytes += latest.capacity() * sizeof(uint32_t);
  return num_bytes;
}

}  // namespace rosa::automaton
