// Matcher: the hard ROSA matches of whole sequences (match.h): symbols in, positions and lengths
// out. Exact on every input. One Matcher a thread; it keeps its workspace from call to call.
#pragma once

#include <cstdint>
#include <span>

namespace rosa::automaton {

class Matcher {
 public:
  // For every t, writes the last key position of the longest, then latest match of the queries up to t among the keys
  // before t: positions[t] (-1: no match) and, unless `lengths` is empty, its length lengths[t] (0: no match).
  //   query, key, positions: equally long; Symbol: uint8_t or uint64_t.
  //   document_starts: first positions of the documents, ascending, from 0; matches stay inside a document. Empty: one.
  // O(n log n) on every input. Throws ArgumentError where the spans do not fit each other.
  template <class Symbol>
  void match(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
             std::span<int32_t> lengths, std::span<const int32_t> document_starts = {});

  // As match(), where cell (t, i) with mask[t * row_stride + i] false counts as query[t] != key[i].
  // Quadratic: O(n^2) time.
  template <class Symbol>
  void match_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                    std::span<int32_t> lengths, std::span<const int32_t> document_starts, const bool* mask,
                    int64_t row_stride);
};

}  // namespace rosa::automaton
