// PlaceSums: what follows all places of the matches of whole sequences, where Matcher tells the latest place only.
//
// A place of the match of t is an i < t with the greatest L(t, i) (match.h). With value bits v, this counts the places,
// and of each value bit j how often v[i + 1] has it set. The latest place p and the length L of the match, which
// Matcher gives, decide both: the places are the i <= p where the last L keys are those at p. So queries are not
// needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "rosa/automaton/streaming_places.h"
#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

// The most value bits.
inline constexpr int32_t kMaxValueBits = 63;

// What sums cost, for tests of the running time.
struct SummingWork {
  int64_t num_steps = 0;      // candidates looked at, and what costs as much
  int64_t num_fallbacks = 0;  // documents that went on with the automaton
};

// One a thread; keeps its workspace (150 to 300 bytes a symbol at eight value bits) from call to call.
class PlaceSums {
 public:
  // Of every t writes how many places its match has, counts[t], and how many of the values after them have bit j,
  // sums[t * value_bits + j]; zeros where nothing matches.
  //   key, value, positions, lengths, counts: equally long; positions and lengths as Matcher::match wrote them.
  //   Symbol, Value: uint8_t or uint64_t; value_bits: 1 to 63, at most those of Value. Counter: uint16_t, which holds
  //   the counts of at most 65536 symbols, or uint32_t.
  //   document_starts: those that Matcher::match had.
  // O(n log n) on every input, for each eight value bits. Throws ArgumentError where the spans do not fit each other.
  template <class Symbol, class Value, class Counter>
  void sum(std::span<const Symbol> key, std::span<const Value> value, int32_t value_bits,
           std::span<const int32_t> positions, std::span<const int32_t> lengths, std::span<Counter> counts,
           std::span<Counter> sums, std::span<const int32_t> document_starts = {});

  // As sum(), for the matches of Matcher::match_masked with the same queries and mask. Quadratic, as that is.
  template <class Symbol, class Value, class Counter>
  static void sum_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<const Value> value,
                         int32_t value_bits, std::span<const int32_t> lengths, std::span<Counter> counts,
                         std::span<Counter> sums, std::span<const int32_t> document_starts, const bool* mask,
                         int64_t row_stride);

  const SummingWork& work() const { return work_; }
  size_t workspace_bytes() const { return workspace_.num_bytes(); }

 private:
  Workspace workspace_;
  SummingWork work_;
};

}  // namespace rosa::automaton
