// MatchStatistics: what the symbols and matches of many sequences look like, as sums, so that those of threads, heads
// and steps merge by addition. Filled by Matcher::match.
#pragma once

#include <array>
#include <cstdint>

namespace rosa::automaton {

struct SymbolStatistics {
  int64_t num_symbols = 0;
  uint64_t bits_ever_set = 0;
  uint64_t bits_always_set = ~uint64_t{0};
  // How often each symbol occurs; symbols above 8 bits are counted by a hash of 8 bits.
  std::array<int64_t, 256> counts{};

  void merge(const SymbolStatistics& other);

  // Shannon entropy of a symbol in bits, from 0 to 8; of symbols above 8 bits that of their hash: a lower bound. 0
  // where there are no symbols.
  double entropy() const;
  // Bits of a symbol of `num_bits` that no symbol has set.
  uint64_t dead_bits(int num_bits) const;
  // Bits of a symbol of `num_bits` that are the same in all symbols, the dead ones included.
  uint64_t constant_bits(int num_bits) const;
};

struct MatchStatistics {
  static constexpr int kNumBuckets = 32;

  int64_t num_positions = 0;
  int64_t num_matched = 0;   // positions with a match
  int64_t total_length = 0;  // the sum of the match lengths
  int32_t max_length = 0;
  // length_counts[0]: positions without a match; length_counts[b]: with a match of 2^(b-1) to 2^b - 1 symbols.
  std::array<int64_t, kNumBuckets> length_counts{};
  int64_t num_agreeing = 0;  // positions t where query[t] == key[t]
  SymbolStatistics query;
  SymbolStatistics key;

  void merge(const MatchStatistics& other);

  // 0 where there are no positions, or, for the mean, no matches.
  double matched_share() const;
  double mean_length() const;  // of the matches
  double agreement() const;    // the share of positions where query and key symbol are equal
};

}  // namespace rosa::automaton
