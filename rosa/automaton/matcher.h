// Matcher: the hard ROSA matches of whole sequences (match.h): symbols in, positions and lengths out. Exact on every
// input. One Matcher a thread; it keeps its workspace (from 1024 symbols on at most 150 bytes a symbol) from
// call to call.
#pragma once

#include <cstdint>
#include <span>

#include "rosa/automaton/byte_matching.h"

namespace rosa::automaton {

class Matcher {
 public:
  // Results are the same at every level. Throws ArgumentError where the build or this CPU lacks the level.
  explicit Matcher(CpuLevel level = best_cpu_level());

  // For every t, writes the last key position of the longest, then latest match of the queries up to t among the keys
  // before t: positions[t] (-1: no match) and, unless `lengths` is empty, its length lengths[t] (0: no match).
  //   query, key, positions: equally long; Symbol: uint8_t or uint64_t.
  //   document_starts: first positions of the documents, ascending, from 0; matches stay inside a document. Empty: one.
  //   statistics: null, or where this sequence is added; needs `lengths`.
  // O(n log n) on every input. Allocates nothing once it has seen as long an input, unless a document has more than 255
  // different symbols or more than 2^21 - 2 symbols in all: those take a slower way. Throws ArgumentError where the
  // spans do not fit each other.
  template <class Symbol>
  void match(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
             std::span<int32_t> lengths, std::span<const int32_t> document_starts = {},
             MatchStatistics* statistics = nullptr);

  // As match(), where cell (t, i) with mask[t * row_stride + i] false counts as query[t] != key[i].
  // Quadratic: O(n^2) time, since a mask may cut every match anywhere.
  template <class Symbol>
  void match_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                    std::span<int32_t> lengths, std::span<const int32_t> document_starts, const bool* mask,
                    int64_t row_stride, MatchStatistics* statistics = nullptr);

  // The work of all match() calls so far.
  const MatchingWork& work() const { return work_; }
  // Bytes of workspace held.
  size_t workspace_bytes() const { return workspace_.num_bytes(); }

 private:
  template <class Symbol>
  void match_document(std::span<const Symbol> query, std::span<const Symbol> key, int32_t first, int32_t* positions,
                      int32_t* lengths);
  template <class Symbol>
  void add_to(MatchStatistics* statistics, std::span<const Symbol> query, std::span<const Symbol> key,
              std::span<const int32_t> lengths) const;

  const MatcherCode* code_;
  Workspace workspace_;
  MatchingWork work_;
};

}  // namespace rosa::automaton
