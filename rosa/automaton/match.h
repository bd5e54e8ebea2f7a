// Match: where the longest earlier occurrence of a sequence's latest symbols ends. With queries q and keys k, for i <
// t:
//   L(t, i) = 1 + L(t - 1, i - 1) if q[t] == k[i], else 0; L(., -1) = 0.
// The match of t is the latest i < t among those with the greatest L(t, i); none where that is 0.
#pragma once

#include <cstdint>

namespace rosa::automaton {

struct Match {
  int32_t position = -1;  // the last key position of the longest, then latest match; -1: no match
  int32_t length = 0;     // the number of symbols that match; 0: no match

  friend bool operator==(const Match&, const Match&) = default;
};

}  // namespace rosa::automaton
