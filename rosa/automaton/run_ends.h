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
  // Takes in the keys that it has not seen; all are of a byte. O(log n) a run.
  void extend(const SymbolSequence& keys);
  // Forgets the keys from `size` on, which `keys` still holds. O(1) a run.
  void rewind(const SymbolSequence& keys, int32_t size);

  // Returns the longest, then latest match of at most `limit` symbols, all equal to `symbol`. O(log n).
  Match search(uint64_t symbol, int32_t limit) const;

  size_t num_bytes() const;

 private:
  static constexpr int32_t kNone = -1;

  // A run that another symbol has ended. What a length needs is the latest run that is so long: the way up `longer`
  // from the symbol's last run passes all that can be that. Nothing is changed by later runs, so that taking back is
  // only forgetting; `jump` leads up that way in steps that make any search O(log n).
  struct Run {
    int32_t end;     // its last position
    int32_t length;  // of keys
    int32_t before;  // the run of the same symbol before it
    int32_t longer;  // the latest before it that is longer; kNone: none is
    int32_t jump;    // some run up that way; itself where none is longer
    int32_t depth;   // how many are longer up that way
  };

  void complete(uint64_t symbol);
  void reopen(uint64_t symbol);
  int32_t first_of(int32_t run, int32_t length) const;

  GrowingArray<Run> runs_;      // all but the last
  std::vector<int32_t> lasts_;  // of every symbol the last of runs_
  int32_t size_ = 0;            // keys seen
  int32_t start_ = 0;           // of the last run
  uint64_t symbol_ = 0;         // of the last run
};

}  // namespace rosa::automaton
