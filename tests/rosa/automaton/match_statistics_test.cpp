#include "rosa/automaton/match_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "rosa/automaton/matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

double entropy_of(const Symbols& symbols) {
  std::map<uint64_t, double> counts;
  for (const uint64_t symbol : symbols) ++counts[symbol];
  double sum = 0.0;
  for (const auto& [symbol, count] : counts) {
    sum -= count / static_cast<double>(symbols.size()) * std::log2(count / static_cast<double>(symbols.size()));
  }
  return sum;
}

void expect_symbols(const SymbolStatistics& actual, const Symbols& symbols, int bits) {
  EXPECT_EQ(actual.num_symbols, static_cast<int64_t>(symbols.size()));
  uint64_t dead = symbol_of(~uint64_t{0}, bits);
  uint64_t always = dead;
  for (const uint64_t symbol : symbols) {
    dead &= ~symbol;
    always &= symbol;
  }
  EXPECT_EQ(actual.dead_bits(bits), dead);
  EXPECT_EQ(actual.constant_bits(bits), dead | always);
  if (bits <= 8) {
    EXPECT_NEAR(actual.entropy(), entropy_of(symbols), 1e-9);
  } else {
    EXPECT_LE(actual.entropy(), entropy_of(symbols) + 1e-9);
  }
}

template <class Symbol>
MatchStatistics statistics_of(Matcher& matcher, const Symbols& query, const Symbols& key) {
  const std::vector<Symbol> narrow_query(query.begin(), query.end());
  const std::vector<Symbol> narrow_key(key.begin(), key.end());
  std::vector<int32_t> positions(query.size());
  std::vector<int32_t> lengths(query.size());
  MatchStatistics statistics;
  matcher.match<Symbol>(narrow_query, narrow_key, positions, lengths, {}, &statistics);
  return statistics;
}

void expect_statistics(const MatchStatistics& actual, const Symbols& query, const Symbols& key, int bits) {
  MatchStatistics expected;
  const std::vector<Match> matches = oracle_matches(query, key);
  for (size_t t = 0; t < matches.size(); ++t) {
    const int32_t length = matches[t].length;
    expected.num_matched += length > 0 ? 1 : 0;
    expected.total_length += length;
    expected.max_length = std::max(expected.max_length, length);
    int bucket = 0;
    while (length >= 1 << bucket) ++bucket;
    ++expected.length_counts[bucket];
    expected.num_agreeing += query[t] == key[t] ? 1 : 0;
  }
  EXPECT_EQ(actual.num_positions, static_cast<int64_t>(matches.size()));
  EXPECT_EQ(actual.num_matched, expected.num_matched);
  EXPECT_EQ(actual.total_length, expected.total_length);
  EXPECT_EQ(actual.max_length, expected.max_length);
  EXPECT_EQ(actual.length_counts, expected.length_counts);
  EXPECT_EQ(actual.num_agreeing, expected.num_agreeing);
  expect_symbols(actual.query, query, bits);
  expect_symbols(actual.key, key, bits);
}

TEST(MatchStatisticsTest, EqualThoseOfTheOracleOnEveryFamilyAndLevel) {
  std::mt19937_64 random(3);
  for (const CpuLevel level : {CpuLevel::portable, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level > best_cpu_level()) continue;
    Matcher matcher(level);
    for (const int bits : {1, 3, 8, 20, 63}) {
      for (const size_t size : {1, 7, 511, 512, 513, 1300}) {
        for (const Family& family : families()) {
          SCOPED_TRACE(family.name + ", bits " + std::to_string(bits) + ", size " + std::to_string(size));
          const Symbols key = family.make(size, bits, random);
          const Symbols query = random() % 2 == 0 ? key : family.make(size, bits, random);
          expect_statistics(statistics_of<uint64_t>(matcher, query, key), query, key, bits);
          if (bits <= 8) expect_statistics(statistics_of<uint8_t>(matcher, query, key), query, key, bits);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

TEST(MatchStatisticsTest, MergedPartsAreTheWhole) {
  const Symbols first{1, 1, 2, 1, 1};
  const Symbols second{4, 4, 4};
  Matcher matcher;
  MatchStatistics merged = statistics_of<uint8_t>(matcher, first, first);
  merged.merge(statistics_of<uint8_t>(matcher, second, second));
  // Lengths: 0, 1, 0, 1, 2 and 0, 1, 2.
  EXPECT_EQ(merged.num_positions, 8);
  EXPECT_EQ(merged.num_matched, 5);
  EXPECT_DOUBLE_EQ(merged.matched_share(), 5.0 / 8.0);
  EXPECT_DOUBLE_EQ(merged.mean_length(), 7.0 / 5.0);
  EXPECT_EQ(merged.max_length, 2);
  EXPECT_EQ(merged.length_counts[0], 3);
  EXPECT_EQ(merged.length_counts[1], 3);
  EXPECT_EQ(merged.length_counts[2], 2);
  EXPECT_DOUBLE_EQ(merged.agreement(), 1.0);
  EXPECT_EQ(merged.key.num_symbols, 8);
  EXPECT_EQ(merged.key.counts[4], 3);
  EXPECT_EQ(merged.key.dead_bits(4), 8u);
  EXPECT_EQ(merged.key.constant_bits(4), 8u);
  EXPECT_NEAR(merged.key.entropy(), entropy_of({1, 1, 2, 1, 1, 4, 4, 4}), 1e-12);
}

TEST(MatchStatisticsTest, AConstantHasNoEntropyAndOnlyConstantBits) {
  Matcher matcher;
  const Symbols symbols(100, 5);
  const MatchStatistics statistics = statistics_of<uint8_t>(matcher, symbols, symbols);
  EXPECT_EQ(statistics.query.entropy(), 0.0);
  EXPECT_EQ(statistics.query.dead_bits(4), 10u);
  EXPECT_EQ(statistics.query.constant_bits(4), 15u);
  EXPECT_EQ(statistics.max_length, 99);
}

TEST(MatchStatisticsTest, WithoutPositionsEverythingIsZero) {
  const MatchStatistics none;
  EXPECT_EQ(none.matched_share(), 0.0);
  EXPECT_EQ(none.mean_length(), 0.0);
  EXPECT_EQ(none.agreement(), 0.0);
  EXPECT_EQ(none.key.entropy(), 0.0);
}

TEST(MatchStatisticsTest, AMaskedMatchCountsToo) {
  Matcher matcher;
  const std::vector<uint8_t> symbols(4, 1);
  std::vector<int32_t> positions(4);
  std::vector<int32_t> lengths(4);
  const bool mask[16] = {false, false, false, false, true, false, false, false,
                         true,  false, false, false, true, true,  true,  false};
  MatchStatistics statistics;
  matcher.match_masked<uint8_t>(symbols, symbols, positions, lengths, {}, mask, 4, &statistics);
  EXPECT_EQ(statistics.num_positions, 4);
  EXPECT_EQ(statistics.num_matched, 3);
}

TEST(MatchStatisticsTest, StatisticsWithoutLengthsAreRefused) {
  Matcher matcher;
  const std::vector<uint8_t> symbols(4);
  std::vector<int32_t> positions(4);
  MatchStatistics statistics;
  EXPECT_THROW(matcher.match<uint8_t>(symbols, symbols, positions, {}, {}, &statistics), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::automaton
