#include "rosa/automaton/run_ends.h"

#include <algorithm>

namespace rosa::automaton {

void RunEnds::extend(const SymbolSequence& keys) {
  for (; size_ < keys.size(); ++size_) {
    if (size_ > 0 && keys[size_] == symbol_) continue;
    if (size_ > 0) complete(symbol_);
    symbol_ = keys[size_];
    start_ = size_;
  }
}

void RunEnds::complete(uint64_t symbol) {
  if (ends_.size() <= symbol) ends_.resize(symbol + 1);
  std::vector<uint32_t>& ends = ends_[symbol];
  const auto count = static_cast<size_t>(std::min(size_ - start_, kMaxRun));
  if (ends.size() < count) ends.resize(count, 0);
  for (size_t i = 0; i < count; ++i) {
    overwritten_.push_back(ends[i]);
    ends[i] = static_cast<uint32_t>(size_);
  }
  overwritten_.push_back(static_cast<uint32_t>(start_));
}

// Makes the run of `symbol` that ends at start_ the last one.
void RunEnds::reopen(uint64_t symbol) {
  const int32_t end = start_;
  symbol_ = symbol;
  start_ = static_cast<int32_t>(overwritten_.back());
  size_t num_left = overwritten_.size() - 1;
  for (auto i = std::min(end - start_, kMaxRun) - 1; i >= 0; --i) ends_[symbol][i] = overwritten_[--num_left];
  overwritten_.truncate(num_left);
}

void RunEnds::rewind(const SymbolSequence& keys, int32_t size) {
  if (size_ <= size) return;
  while (start_ > 0 && start_ >= size) reopen(keys[start_ - 1]);
  size_ = size;
}

Match RunEnds::search(uint64_t symbol, int32_t limit) const {
  Match best;
  if (size_ > 0 && symbol_ == symbol) best = {size_ - 1, std::min(size_ - start_, limit)};
  if (symbol >= ends_.size()) return best;
  // Every part of a run is a run: the lengths that there are come first.
  const std::vector<uint32_t>& ends = ends_[symbol];
  const auto first = ends.begin(), last = first + std::min<int64_t>(limit, static_cast<int64_t>(ends.size()));
  const auto none = std::partition_point(first, last, [](uint32_t end) { return end != 0; });
  const auto length = static_cast<int32_t>(none - first);
  if (length > best.length) best = {static_cast<int32_t>(ends[length - 1]) - 1, length};
  return best;
}

size_t RunEnds::num_bytes() const {
  size_t num_bytes = overwritten_.num_bytes() + ends_.capacity() * sizeof(ends_[0]);
  for (const auto& ends : ends_) num_bytes += ends.capacity() * sizeof(uint32_t);
  return num_bytes;
}

}  // namespace rosa::automaton
