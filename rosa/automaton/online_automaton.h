// OnlineAutomaton: the suffix automaton of a growing sequence of keys, with the latest end of every state.
// Amortised O(log n) a symbol on every input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "rosa/automaton/latest_end_forest.h"
#include "rosa/automaton/symbol_edges.h"

namespace rosa::automaton {

// A string that occurs in the keys: the suffix of this length of what leads to the state.
struct Locus {
  int32_t state = 0;
  int32_t length = 0;
};

class OnlineAutomaton {
 public:
  OnlineAutomaton();

  // Appends a key and keeps `locus` where its string is.
  void append(uint64_t symbol, Locus& locus);
  // Returns the locus of the longest suffix of (the string of `locus`, symbol) that occurs in the keys.
  Locus extend(Locus locus, uint64_t symbol);
  // Returns the last position at which the (not empty) string of `locus` ends.
  int32_t latest_end(const Locus& locus) { return forest_.latest_end(locus.state); }

  size_t num_bytes() const { return states_.capacity() * sizeof(State) + edges_.num_bytes() + forest_.num_bytes(); }
  // Elementary steps so far: the work done.
  int64_t num_steps() const { return num_steps_ + forest_.num_steps(); }

 private:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNone = -1;

  struct State {
    int32_t link = kNone;
    int32_t length = 0;
  };

  int32_t add_state(int32_t length);
  int32_t split(int32_t state, int32_t length, Locus& locus);

  std::vector<State> states_;
  SymbolEdges edges_;
  LatestEndForest forest_;
  int32_t last_ = kRoot;
  int64_t num_steps_ = 0;
};

}  // namespace rosa::automaton
