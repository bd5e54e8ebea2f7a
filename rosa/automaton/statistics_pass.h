// The pass over symbols and lengths that adds to MatchStatistics: plain loops that the compiler turns into vectors,
// compiled once for each CpuLevel. Level: a type of one such file, so that each has its own copy of the code.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <utility>

#include "rosa/automaton/match_statistics.h"

namespace rosa::automaton {

// Lengths and symbols are taken in blocks that stay in the first cache and whose counts fit small integers.
inline constexpr size_t kStatisticsBlock = 512;

template <class Level>
void add_length_block(const int32_t* lengths, int32_t size, MatchStatistics& statistics) {
  constexpr int32_t kMaxSummed = INT32_MAX / static_cast<int32_t>(kStatisticsBlock);
  int32_t max = 0;
  int32_t min = lengths[0];
  uint32_t total = 0;
  // std::max would take references, with which the compiler finds no vectors.
  for (int32_t i = 0; i < size; ++i) {
    const int32_t length = lengths[i];
    max = length > max ? length : max;
    min = length < min ? length : min;
    total += static_cast<uint32_t>(length);
  }
  statistics.total_length += max <= kMaxSummed ? total : std::accumulate(lengths, lengths + size, int64_t{0});
  statistics.max_length = std::max(statistics.max_length, max);
  // num_below of bucket b: how many lengths are below 2^b.
  int32_t num_before = 0;
  for (int32_t bucket = std::bit_width(static_cast<uint32_t>(min)); num_before < size; ++bucket) {
    const int64_t bound = int64_t{1} << bucket;
    int32_t num_below = size;
    if (bound <= max) {
      num_below = 0;
      for (int32_t i = 0; i < size; ++i) num_below += lengths[i] < static_cast<int32_t>(bound) ? 1 : 0;
    }
    statistics.length_counts[bucket] += num_below - num_before;
    num_before = num_below;
  }
}

// Returns for how many i below `size` condition(i) holds.
template <class Level, class Condition>
int64_t count_true(size_t size, const Condition& condition) {
  int64_t total = 0;
  for (size_t block = 0; block < size; block += kStatisticsBlock) {
    const size_t end = std::min(size, block + kStatisticsBlock);
    uint16_t count = 0;
    for (size_t i = block; i < end; ++i) count = static_cast<uint16_t>(count + (condition(i) ? 1 : 0));
    total += count;
  }
  return total;
}

template <class Word>
Word load_word(const uint8_t* bytes) {
  Word word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

// Counts `size` bytes; word_at(Word, i) returns those from the i-th on. Eight tables, one for each place in a word:
// equal symbols one after the other would wait for each other's count.
template <class Level, class WordAt>
std::array<int64_t, 256> count_bytes(size_t size, const WordAt& word_at) {
  constexpr size_t kWord = sizeof(uint64_t);
  constexpr size_t kMaxPart = kWord * UINT16_MAX;
  std::array<int64_t, 256> counts{};
  for (size_t part = 0; part < size; part += kMaxPart) {
    uint16_t tables[kWord][256] = {};
    const size_t end = std::min(size, part + kMaxPart);
    size_t i = part;
    for (; i + kWord <= end; i += kWord) {
      const uint64_t word = word_at(uint64_t{}, i);
      for (size_t place = 0; place < kWord; ++place) ++tables[place][word >> (8 * place) & 255];
    }
    for (size_t place = 0; i < end; ++i, ++place) ++tables[place][static_cast<uint8_t>(word_at(uint8_t{}, i))];
    uint32_t sums[256] = {};
    for (const auto& table : tables) {
      for (size_t symbol = 0; symbol < counts.size(); ++symbol) sums[symbol] += table[symbol];
    }
    for (size_t symbol = 0; symbol < counts.size(); ++symbol) counts[symbol] += sums[symbol];
  }
  return counts;
}

// Without a branch: which symbols occur is hard to predict.
inline void add_count(uint64_t symbol, int64_t count, SymbolStatistics& statistics) {
  const uint64_t occurs = count > 0 ? ~uint64_t{0} : 0;
  statistics.counts[symbol] += count;
  statistics.bits_ever_set |= symbol & occurs;
  statistics.bits_always_set &= symbol | ~occurs;
}

// Adds the counts of symbols below 4: a pass for each of them takes less than a table of counts.
template <class Level>
void add_few_symbols(const uint8_t* symbols, size_t size, uint8_t all, SymbolStatistics& statistics) {
  auto num_zeros = static_cast<int64_t>(size);
  for (uint8_t symbol = 1; symbol <= all; ++symbol) {
    const int64_t count = count_true<Level>(size, [&](size_t i) { return symbols[i] == symbol; });
    add_count(symbol, count, statistics);
    num_zeros -= count;
  }
  add_count(0, num_zeros, statistics);
}

template <class Level>
void add_symbols(const uint8_t* query, const uint8_t* key, size_t size, bool are_equal, MatchStatistics& statistics) {
  uint8_t all = 0;
  for (size_t i = 0; i < size; ++i) all |= query[i] | key[i];
  if (all < 4) {
    add_few_symbols<Level>(query, size, all, statistics.query);
    add_few_symbols<Level>(key, size, all, statistics.key);
    return;
  }
  if (all < 16) {
    // Both in one pass: pairs of symbols are bytes.
    const auto counts = count_bytes<Level>(size, [&](auto word, size_t i) {
      return load_word<decltype(word)>(query + i) | load_word<decltype(word)>(key + i) << 4;
    });
    for (size_t pair = 0; pair < counts.size(); ++pair) {
      add_count(pair & 15, counts[pair], statistics.query);
      add_count(pair >> 4, counts[pair], statistics.key);
    }
    return;
  }
  const auto count = [&](const uint8_t* symbols) {
    return count_bytes<Level>(size, [&](auto word, size_t i) { return load_word<decltype(word)>(symbols + i); });
  };
  const auto query_counts = count(query);
  const auto key_counts = are_equal ? query_counts : count(key);
  for (size_t symbol = 0; symbol < query_counts.size(); ++symbol) {
    add_count(symbol, query_counts[symbol], statistics.query);
    add_count(symbol, key_counts[symbol], statistics.key);
  }
}

template <class Level>
void add_symbols(const uint64_t* query, const uint64_t* key, size_t size, bool /*are_equal*/,
                 MatchStatistics& statistics) {
  for (const auto& [symbols, sum] : {std::pair(query, &statistics.query), std::pair(key, &statistics.key)}) {
    for (size_t i = 0; i < size; ++i) {
      const uint64_t symbol = symbols[i];
      sum->bits_ever_set |= symbol;
      sum->bits_always_set &= symbol;
      ++sum->counts[symbol < 256 ? symbol : (symbol * 0x9E3779B97F4A7C15u) >> 56];
    }
  }
}

// Adds one sequence: equally long queries, keys and match lengths.
template <class Level, class Symbol>
void add_statistics(std::span<const Symbol> query, std::span<const Symbol> key, std::span<const int32_t> lengths,
                    MatchStatistics& statistics) {
  const size_t size = lengths.size();
  if (size == 0) return;
  const int64_t num_unmatched_before = statistics.length_counts[0];
  for (size_t block = 0; block < size; block += kStatisticsBlock) {
    add_length_block<Level>(lengths.data() + block, static_cast<int32_t>(std::min(size - block, kStatisticsBlock)),
                            statistics);
  }
  const auto num_positions = static_cast<int64_t>(size);
  statistics.num_positions += num_positions;
  statistics.num_matched += num_positions - (statistics.length_counts[0] - num_unmatched_before);
  const int64_t num_agreeing = count_true<Level>(size, [&](size_t i) { return query[i] == key[i]; });
  statistics.num_agreeing += num_agreeing;
  statistics.query.num_symbols += num_positions;
  statistics.key.num_symbols += num_positions;
  add_symbols<Level>(query.data(), key.data(), size, num_agreeing == num_positions, statistics);
}

}  // namespace rosa::automaton
