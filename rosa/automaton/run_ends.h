// RunEnds: of every symbol and every length of a run of it, the latest position that ends such a run, among a growing
// sequence of keys. Where a string is one symbol repeated, chains hold a candidate for each run; this tells the best.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rosa/automaton/growing_array.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/symbol_sequence.h"

namespace rosa::automaton {

class RunEnds {
 public:
  static constexpr int32_t kMaxRun = 4096;

  // Takes in the keys that it has not seen; all are of a byte. Amortised O(1) a key.
  void extend(const SymbolSequence& keys);
  // Forgets the keys from `size` on, which `keys` still holds.
  void rewind(const SymbolSequence& keys, int32_t size);

  // Returns the longest, then latest match of at most `limit` <= kMaxRun symbols, all equal to `symbol`.
  Match search(uint64_t symbol, int32_t limit) const;

  size_t num_bytes() const;

 private:
  void complete(uint64_t symbol);
  void reopen(uint64_t symbol);

  std::vector<std::vector<uint32_t>> ends_;  // [symbol][length - 1]: position plus 1, or 0; but for the last run
  GrowingArray<uint32_t> overwritten_;       // of every run but the last, in turn: what it replaced, then its start
  int32_t size_ = 0;                         // keys seen
  int32_t start_ = 0;                        // of the last run
  uint64_t symbol_ = 0;                      // of the last run
};

}  // namespace rosa::automaton
