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

// Returns the first of a run and those up its way that is at least so long; where none is, the longest.
int32_t RunEnds::first_of(int32_t run, int32_t length) const {
  while (runs_[run].length < length && runs_[run].longer != kNone) {
    run = runs_[runs_[run].jump].length < length ? runs_[run].jump : runs_[run].longer;
  }
  return run;
}

void RunEnds::complete(uint64_t symbol) {
  if (lasts_.size() <= symbol) lasts_.resize(symbol + 1, kNone);
  const auto index = static_cast<int32_t>(runs_.size());
  Run run{size_ - 1, size_ - start_, lasts_[symbol], kNone, index, 0};
  const int32_t above = run.before == kNone ? kNone : first_of(run.before, run.length + 1);
  if (above != kNone && runs_[above].length > run.length) {
    const int32_t jump = runs_[above].jump;
    const bool are_equal = runs_[above].depth - runs_[jump].depth == runs_[jump].depth - runs_[runs_[jump].jump].depth;
    run.longer = above;
    run.jump = are_equal ? runs_[jump].jump : above;
    run.depth = runs_[above].depth + 1;
  }
  runs_.push_back(run);
  lasts_[symbol] = index;
}

// Makes the run of `symbol` that ends before start_ the last one.
void RunEnds::reopen(uint64_t symbol) {
  symbol_ = symbol;
  start_ -= runs_.back().length;
  lasts_[symbol] = runs_.back().before;
  runs_.truncate(runs_.size() - 1);
}

void RunEnds::rewind(const SymbolSequence& keys, int32_t size) {
  if (size_ <= size) return;
  while (start_ > 0 && start_ >= size) reopen(keys[start_ - 1]);
  size_ = size;
}

Match RunEnds::search(uint64_t symbol, int32_t limit) const {
  Match best;
  if (size_ > 0 && symbol_ == symbol) best = {size_ - 1, std::min(size_ - start_, limit)};
  if (symbol >= lasts_.size() || lasts_[symbol] == kNone) return best;
  const Run& run = runs_[first_of(lasts_[symbol], limit)];
  const int32_t length = std::min(run.length, limit);
  if (length > best.length) best = {run.end, length};
  return best;
}

size_t RunEnds::num_bytes() const { return runs_.num_bytes() + lasts_.capacity() * sizeof(int32_t); }

}  // namespace rosa::automaton
