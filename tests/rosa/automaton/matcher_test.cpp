#include "rosa/automaton/matcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>

#include "base/error.h"
#include "rosa/automaton/streaming_matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace {

std::atomic<int64_t> num_allocations = 0;

void* counted_allocation(size_t size, size_t alignment) {
  ++num_allocations;
  void* block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

}  // namespace

// Counts the allocations of the whole program.
void* operator new(size_t size) { return counted_allocation(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) {
  return counted_allocation(size, static_cast<size_t>(alignment));
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { std::free(block); }

namespace rosa::automaton {
namespace {

// One matcher for each kind of code that this machine can run.
std::vector<Matcher> matchers_of_all_levels() {
  std::vector<Matcher> matchers;
  for (const CpuLevel level : {CpuLevel::portable, CpuLevel::avx2, CpuLevel::avx512}) {
    if (level <= best_cpu_level()) matchers.emplace_back(level);
  }
  return matchers;
}

template <class Symbol>
std::vector<Match> batch_matches(Matcher& matcher, const Symbols& query, const Symbols& key,
                                 const std::vector<int32_t>& document_starts = {}) {
  const std::vector<Symbol> narrow_query(query.begin(), query.end());
  const std::vector<Symbol> narrow_key(key.begin(), key.end());
  std::vector<int32_t> positions(query.size(), -7);
  std::vector<int32_t> lengths(query.size(), -7);
  matcher.match<Symbol>(narrow_query, narrow_key, positions, lengths, document_starts);
  std::vector<Match> matches(query.size());
  for (size_t t = 0; t < query.size(); ++t) matches[t] = {positions[t], lengths[t]};
  return matches;
}

void expect_equal(const std::vector<Match>& actual, const std::vector<Match>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t t = 0; t < actual.size(); ++t) {
    ASSERT_EQ(actual[t].length, expected[t].length) << "at " << t;
    ASSERT_EQ(actual[t].position, expected[t].position) << "at " << t;
  }
}

template <class Symbol>
void expect_all_levels_equal(std::vector<Matcher>& matchers, const Symbols& query, const Symbols& key,
                             const std::vector<Match>& expected, const std::vector<int32_t>& document_starts = {}) {
  for (size_t level = 0; level < matchers.size(); ++level) {
    SCOPED_TRACE("CPU level " + std::to_string(level));
    expect_equal(batch_matches<Symbol>(matchers[level], query, key, document_starts), expected);
  }
}

std::vector<Match> streamed_matches(const Symbols& query, const Symbols& key) {
  StreamingMatcher stream;
  std::vector<Match> matches;
  for (size_t t = 0; t < query.size(); ++t) matches.push_back(stream.append(query[t], key[t]));
  return matches;
}

Symbols bits_of(uint64_t word, size_t size) {
  Symbols symbols(size);
  for (size_t t = 0; t < size; ++t) symbols[t] = (word >> t) & 1;
  return symbols;
}

// All pairs to this length; T = 8 is 65536 pairs.
constexpr size_t kMaxPairSize = 8;
constexpr size_t kMaxSelfSize = 14;

TEST(MatcherTest, EveryBinaryPairEqualsTheOracle) {
  std::vector<Matcher> matchers = matchers_of_all_levels();
  for (size_t size = 0; size <= kMaxPairSize; ++size) {
    for (uint64_t a = 0; a < uint64_t{1} << size; ++a) {
      for (uint64_t b = 0; b < uint64_t{1} << size; ++b) {
        const Symbols query = bits_of(a, size);
        const Symbols key = bits_of(b, size);
        const auto expected = oracle_matches(query, key);
        ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint8_t>(matchers, query, key, expected));
        ASSERT_NO_FATAL_FAILURE(expect_equal(streamed_matches(query, key), expected));
      }
    }
  }
}

TEST(MatcherTest, EveryBinarySequenceAgainstItselfEqualsTheOracle) {
  std::vector<Matcher> matchers = matchers_of_all_levels();
  for (size_t size = 9; size <= kMaxSelfSize; ++size) {
    for (uint64_t a = 0; a < uint64_t{1} << size; ++a) {
      const Symbols symbols = bits_of(a, size);
      const auto expected = oracle_matches(symbols, symbols);
      ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint8_t>(matchers, symbols, symbols, expected));
      ASSERT_NO_FATAL_FAILURE(expect_equal(streamed_matches(symbols, symbols), expected));
    }
  }
}

class MatcherFamilyTest : public testing::TestWithParam<int> {};

TEST_P(MatcherFamilyTest, EveryFamilyEqualsTheOracle) {
  const int bits = GetParam();
  std::vector<Matcher> matchers = matchers_of_all_levels();
  std::mt19937_64 random(bits);
  for (const size_t size : {1, 2, 3, 63, 64, 65, 127, 500, 1500}) {
    for (const Family& keys : families()) {
      const Symbols key = keys.make(size, bits, random);
      std::vector<std::pair<std::string, Symbols>> queries{{"itself", key}};
      queries.emplace_back("same kind", keys.make(size, bits, random));
      queries.emplace_back("uniform", families()[0].make(size, bits, random));
      queries.emplace_back("one later", key);
      queries.back().second.erase(queries.back().second.begin());
      queries.back().second.push_back(1);
      for (const auto& [name, query] : queries) {
        SCOPED_TRACE(keys.name + " against " + name + ", size " + std::to_string(size));
        const auto expected = oracle_matches(query, key);
        ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint64_t>(matchers, query, key, expected));
        if (bits <= 8) {
          ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint8_t>(matchers, query, key, expected));
        }
        ASSERT_NO_FATAL_FAILURE(expect_equal(streamed_matches(query, key), expected));
      }
    }
  }
}

TEST_P(MatcherFamilyTest, DocumentsEqualEachAlone) {
  const int bits = GetParam();
  std::vector<Matcher> matchers = matchers_of_all_levels();
  std::mt19937_64 random(bits);
  const std::vector<int32_t> starts{0, 1, 2, 90, 91, 300, 599};
  const size_t size = 600;
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Symbols query = family.make(size, bits, random);
    const Symbols key = family.make(size, bits, random);
    std::vector<Match> expected;
    for (size_t d = 0; d < starts.size(); ++d) {
      const size_t end = d + 1 < starts.size() ? starts[d + 1] : size;
      const Symbols document_query(query.begin() + starts[d], query.begin() + end);
      const Symbols document_key(key.begin() + starts[d], key.begin() + end);
      for (Match match : oracle_matches(document_query, document_key)) {
        if (match.length > 0) match.position += starts[d];
        expected.push_back(match);
      }
    }
    ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint64_t>(matchers, query, key, expected, starts));
    if (bits <= 8) {
      ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint8_t>(matchers, query, key, expected, starts));
    }
  }
}

TEST_P(MatcherFamilyTest, MaskEqualsTheOracle) {
  const int bits = GetParam();
  Matcher matcher;
  std::mt19937_64 random(bits);
  const size_t size = 97;
  const size_t stride = 100;
  const std::vector<int32_t> starts{0, 40};
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Symbols query = family.make(size, bits, random);
    const Symbols key = family.make(size, bits, random);
    const auto mask = std::make_unique<bool[]>(size * stride);
    for (size_t i = 0; i < size * stride; ++i) mask[i] = random() % 5 != 0;
    const auto same_document = [](size_t t, size_t i) { return (t < 40) == (i < 40); };
    for (const bool with_documents : {false, true}) {
      const auto expected = oracle_matches(query, key, [&](size_t t, size_t i) {
        return mask[t * stride + i] && (!with_documents || same_document(t, i));
      });
      std::vector<int32_t> positions(size);
      std::vector<int32_t> lengths(size);
      matcher.match_masked<uint64_t>(query, key, positions, lengths,
                                     with_documents ? std::span<const int32_t>(starts) : std::span<const int32_t>(),
                                     mask.get(), stride);
      std::vector<Match> actual(size);
      for (size_t t = 0; t < size; ++t) actual[t] = {positions[t], lengths[t]};
      ASSERT_NO_FATAL_FAILURE(expect_equal(actual, expected));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, MatcherFamilyTest, testing::Values(1, 2, 4, 8, 20, 63));

TEST(MatcherTest, ManyShortRandomSequencesEqualTheOracle) {
  std::vector<Matcher> matchers = matchers_of_all_levels();
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    const size_t size = 1 + random() % 200;
    const int bits = 1 + static_cast<int>(random() % 8);
    const uint64_t keep = 1 + random() % 8;
    Symbols query(size);
    Symbols key(size);
    for (size_t t = 0; t < size; ++t) {
      key[t] = t > 0 && random() % keep != 0 ? key[random() % t] : symbol_of(random(), bits);
      query[t] = t > 0 && random() % keep != 0 ? key[t - 1] : symbol_of(random(), bits);
    }
    const auto expected = oracle_matches(query, key);
    ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint8_t>(matchers, query, key, expected)) << "round " << round;
    ASSERT_NO_FATAL_FAILURE(expect_equal(streamed_matches(query, key), expected)) << "round " << round;
  }
}

TEST(MatcherTest, LengthsMayBeLeftOut) {
  Matcher matcher;
  const std::vector<uint8_t> symbols{1, 2, 1, 2, 3, 1};
  std::vector<int32_t> positions(symbols.size());
  matcher.match<uint8_t>(symbols, symbols, positions, {});
  EXPECT_EQ(positions, (std::vector<int32_t>{-1, -1, 0, 1, -1, 2}));
}

TEST(MatcherTest, SpansThatDoNotFitAreRefused) {
  Matcher matcher;
  const std::vector<uint8_t> symbols(4);
  std::vector<int32_t> positions(4);
  std::vector<int32_t> short_lengths(3);
  const std::vector<uint8_t> short_symbols(3);
  EXPECT_THROW(matcher.match<uint8_t>(symbols, short_symbols, positions, {}), base::ArgumentError);
  EXPECT_THROW(matcher.match<uint8_t>(symbols, symbols, positions, short_lengths), base::ArgumentError);
  for (const std::vector<int32_t>& starts : {std::vector<int32_t>{1}, {0, 0}, {0, 2, 1}, {0, 4}, {0, -1}}) {
    EXPECT_THROW(matcher.match<uint8_t>(symbols, symbols, positions, {}, starts), base::ArgumentError);
  }
  EXPECT_THROW(matcher.match_masked<uint8_t>(symbols, symbols, positions, {}, {}, nullptr, 4), base::ArgumentError);
}

// Long enough for the chains' budget to end on the hard families; the streaming matcher is the oracle.
TEST_P(MatcherFamilyTest, LongSequencesEqualTheStreamingMatcher) {
  const int bits = GetParam();
  std::vector<Matcher> matchers = matchers_of_all_levels();
  std::mt19937_64 random(bits);
  const size_t size = 20000;
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Symbols key = family.make(size, bits, random);
    const Symbols other = family.make(size, bits, random);
    for (const Symbols* query : {&key, &other}) {
      const auto expected = streamed_matches(*query, key);
      ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint64_t>(matchers, *query, key, expected));
    }
  }
}

// The chains number positions with 16 bits up to 65536 symbols, with 32 bits beyond.
TEST(MatcherTest, BothWidthsOfPositionsEqualTheStreamingMatcher) {
  std::vector<Matcher> matchers = matchers_of_all_levels();
  std::mt19937_64 random(10);
  for (const size_t size : {65535, 65536, 65537, 70000}) {
    for (const Family& family : families()) {
      if (family.name != "uniform" && family.name != "half repeated" && family.name != "noisy period 37") continue;
      for (const int bits : {1, 8}) {
        SCOPED_TRACE(family.name + ", bits " + std::to_string(bits) + ", size " + std::to_string(size));
        const Symbols symbols = family.make(size, bits, random);
        const auto expected = streamed_matches(symbols, symbols);
        ASSERT_NO_FATAL_FAILURE(expect_all_levels_equal<uint8_t>(matchers, symbols, symbols, expected));
      }
    }
  }
}

TEST(MatcherTest, TheWorkIsNearLinearOnEveryFamily) {
  std::vector<Matcher> matchers = matchers_of_all_levels();
  std::mt19937_64 random(8);
  const size_t size = 65536;
  int64_t num_fallbacks = 0;
  for (const Family& family : families()) {
    for (const int bits : {1, 2, 4, 8}) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols symbols = family.make(size, bits, random);
      const Symbols other = family.make(size, bits, random);
      for (const Symbols* query : {&symbols, &other}) {
        Matcher matcher;
        batch_matches<uint8_t>(matcher, *query, symbols);
        EXPECT_LT(matcher.work().num_steps, static_cast<int64_t>(16 * size));
        num_fallbacks += matcher.work().num_fallbacks;
      }
    }
  }
  EXPECT_GT(num_fallbacks, 0);  // or the automaton is not tested
}

TEST(MatcherTest, TheWorkspaceIsBoundedAndKept) {
  std::mt19937_64 random(9);
  for (const size_t size : {1024, 4096, 5000, 16384, 65536, 65537}) {
    Matcher matcher;
    const Symbols symbols = families()[0].make(size, 8, random);
    const std::vector<uint8_t> bytes(symbols.begin(), symbols.end());
    std::vector<int32_t> positions(size);
    matcher.match<uint8_t>(bytes, bytes, positions, positions);
    EXPECT_LE(matcher.workspace_bytes(), 150 * size) << size;
    const size_t held = matcher.workspace_bytes();
    for (const Family& family : families()) {
      const Symbols others = family.make(size, 8, random);
      const std::vector<uint8_t> other_bytes(others.begin(), others.end());
      const int64_t num_allocations_before = num_allocations;
      matcher.match<uint8_t>(other_bytes, bytes, positions, positions);
      matcher.match<uint8_t>(other_bytes, other_bytes, positions, {});
      EXPECT_EQ(num_allocations, num_allocations_before) << family.name;
    }
    EXPECT_EQ(matcher.workspace_bytes(), held);
  }
}

}  // namespace
}  // namespace rosa::automaton
