// What follows all places of a match, of whole sequences and of streams, against the O(n^2) definition.
#include "rosa/automaton/place_sums.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "base/error.h"
#include "rosa/automaton/matcher.h"
#include "rosa/automaton/streaming_matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

// Of one position: the number of places, then the sum of each value bit.
using Row = std::vector<uint32_t>;

std::vector<Row> oracle_rows(const Symbols& query, const Symbols& key, const Symbols& value, int value_bits) {
  const size_t size = query.size();
  std::vector<Row> rows(size, Row(static_cast<size_t>(value_bits) + 1));
  std::vector<int32_t> before(size + 1, 0);  // before[i + 1] = L(t - 1, i)
  std::vector<int32_t> now(size + 1, 0);
  for (size_t t = 0; t < size; ++t) {
    int32_t longest = 1;
    for (size_t i = 0; i < t; ++i) {
      now[i + 1] = query[t] == key[i] ? before[i] + 1 : 0;
      longest = std::max(longest, now[i + 1]);
    }
    for (size_t i = 0; i < t; ++i) {
      if (now[i + 1] != longest) continue;
      ++rows[t][0];
      for (int bit = 0; bit < value_bits; ++bit) rows[t][bit + 1] += value[i + 1] >> bit & 1;
    }
    before.swap(now);
  }
  return rows;
}

// Matches and sums; `Counter` as wide as asked for.
template <class Symbol, class Value, class Counter>
std::vector<Row> summed_rows(PlaceSums& place_sums, const Symbols& query, const Symbols& key, const Symbols& value,
                             int value_bits, const std::vector<int32_t>& starts = {}) {
  const std::vector<Symbol> queries(query.begin(), query.end()), keys(key.begin(), key.end());
  const std::vector<Value> values(value.begin(), value.end());
  const size_t size = query.size();
  std::vector<int32_t> positions(size), lengths(size);
  Matcher matcher;
  matcher.match<Symbol>(queries, keys, positions, lengths, starts);
  std::vector<Counter> counts(size), sums(size * static_cast<size_t>(value_bits) + 1, Counter{77});
  place_sums.sum<Symbol, Value, Counter>(keys, values, value_bits, positions, lengths, counts,
                                         std::span(sums).first(sums.size() - 1), starts);
  EXPECT_EQ(sums.back(), 77);  // nothing is written behind the end
  std::vector<Row> rows(size);
  for (size_t t = 0; t < size; ++t) {
    rows[t] = {counts[t]};
    const auto row = sums.begin() + static_cast<std::ptrdiff_t>(t) * value_bits;
    rows[t].insert(rows[t].end(), row, row + value_bits);
  }
  return rows;
}

void expect_equal(const std::vector<Row>& actual, const std::vector<Row>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t t = 0; t < actual.size(); ++t) ASSERT_EQ(actual[t], expected[t]) << "at " << t;
}

// The two forms of keys, values and counters that fit.
void expect_all_forms_equal(PlaceSums& sums, const Symbols& query, const Symbols& key, const Symbols& value, int bits,
                            int value_bits, const std::vector<Row>& expected, const std::vector<int32_t>& starts = {}) {
  const auto wide = summed_rows<uint64_t, uint64_t, uint32_t>(sums, query, key, value, value_bits, starts);
  ASSERT_NO_FATAL_FAILURE(expect_equal(wide, expected));
  if (bits > 8) return;
  if (value_bits > 8) {
    const auto narrow = summed_rows<uint8_t, uint64_t, uint16_t>(sums, query, key, value, value_bits, starts);
    ASSERT_NO_FATAL_FAILURE(expect_equal(narrow, expected));
    return;
  }
  const auto narrow = summed_rows<uint8_t, uint8_t, uint16_t>(sums, query, key, value, value_bits, starts);
  ASSERT_NO_FATAL_FAILURE(expect_equal(narrow, expected));
}

// A stream and the values that go with it.
class SummedStream {
 public:
  Row append(uint64_t query, uint64_t key, uint64_t value, int value_bits) {
    stream_.append(query, key);
    values_.push_back(value);
    return count(value_bits);
  }
  Row count(int value_bits) {
    std::vector<uint32_t> sums(static_cast<size_t>(value_bits), 99);
    Row row{stream_.count_places(values_, sums)};
    row.insert(row.end(), sums.begin(), sums.end());
    return row;
  }
  void append_uncounted(uint64_t query, uint64_t key, uint64_t value) {
    stream_.append(query, key);
    values_.push_back(value);
  }
  void rewind(size_t num_symbols) {
    stream_.rewind(static_cast<int64_t>(num_symbols));
    values_.truncate(values_.size() - static_cast<int32_t>(num_symbols));
  }
  void save_and_load() { stream_ = StreamingMatcher::load(stream_.save()); }
  StreamingMatcher& stream() { return stream_; }

 private:
  StreamingMatcher stream_;
  SymbolSequence values_;
};

std::vector<Row> streamed_rows(const Symbols& query, const Symbols& key, const Symbols& value, int value_bits) {
  SummedStream stream;
  std::vector<Row> rows;
  for (size_t t = 0; t < query.size(); ++t) rows.push_back(stream.append(query[t], key[t], value[t], value_bits));
  return rows;
}

TEST(PlaceSumsTest, EveryBinaryPairEqualsTheOracle) {
  PlaceSums sums;
  constexpr size_t kSize = 7;
  for (uint64_t a = 0; a < uint64_t{1} << kSize; ++a) {
    for (uint64_t b = 0; b < uint64_t{1} << kSize; ++b) {
      Symbols query(kSize), key(kSize), value(kSize);
      for (size_t t = 0; t < kSize; ++t) {
        query[t] = a >> t & 1;
        key[t] = b >> t & 1;
        value[t] = t + 1;
      }
      const auto expected = oracle_rows(query, key, value, 3);
      const auto actual = summed_rows<uint8_t, uint8_t, uint16_t>(sums, query, key, value, 3);
      ASSERT_NO_FATAL_FAILURE(expect_equal(actual, expected)) << a << ", " << b;
      ASSERT_NO_FATAL_FAILURE(expect_equal(streamed_rows(query, key, value, 3), expected)) << a << ", " << b;
    }
  }
}

TEST(PlaceSumsTest, EveryFamilyAndWidthEqualsTheOracle) {
  std::mt19937_64 random(51);
  PlaceSums sums;
  int value_bits = 0;
  for (const int bits : {1, 2, 3, 4, 5, 7, 8, 9, 20, 33, 63, 64}) {
    for (const size_t size : {1, 2, 65, 700}) {
      for (const Family& keys : families()) {
        value_bits = value_bits % 63 + 1;
        SCOPED_TRACE(keys.name + ", " + std::to_string(bits) + " bits, size " + std::to_string(size) + ", " +
                     std::to_string(value_bits) + " value bits");
        const Symbols key = keys.make(size, bits, random), value = families()[0].make(size, value_bits, random);
        Symbols query = random() % 3 == 0 ? keys.make(size, bits, random) : key;
        for (uint64_t& symbol : query) symbol = random() % 32 == 0 ? symbol_of(random(), bits) : symbol;
        const auto expected = oracle_rows(query, key, value, value_bits);
        ASSERT_NO_FATAL_FAILURE(expect_all_forms_equal(sums, query, key, value, bits, value_bits, expected));
        ASSERT_NO_FATAL_FAILURE(expect_equal(streamed_rows(query, key, value, value_bits), expected));
      }
    }
  }
}

TEST(PlaceSumsTest, DocumentsEqualEachAlone) {
  std::mt19937_64 random(52);
  PlaceSums sums;
  const std::vector<int32_t> starts{0, 1, 2, 90, 91, 300, 599};
  constexpr size_t kSize = 600;
  for (const int bits : {1, 4, 8, 20}) {
    for (const Family& family : families()) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols query = family.make(kSize, bits, random), key = family.make(kSize, bits, random);
      const Symbols value = families()[0].make(kSize, 8, random);
      std::vector<Row> expected;
      SummedStream stream;
      for (size_t d = 0; d < starts.size(); ++d) {
        const auto begin = static_cast<size_t>(starts[d]);
        const size_t end = d + 1 < starts.size() ? static_cast<size_t>(starts[d + 1]) : kSize;
        const auto part = [&](const Symbols& all) { return Symbols(all.begin() + begin, all.begin() + end); };
        const auto rows = oracle_rows(part(query), part(key), part(value), 8);
        if (d > 0) stream.stream().start_document();
        for (size_t t = begin; t < end; ++t) {
          ASSERT_EQ(stream.append(query[t], key[t], value[t], 8), rows[t - begin]) << "at " << t;
        }
        expected.insert(expected.end(), rows.begin(), rows.end());
      }
      ASSERT_NO_FATAL_FAILURE(expect_all_forms_equal(sums, query, key, value, bits, 8, expected, starts));
    }
  }
}

// Long enough for every kind of table and level, and for the automaton and the order of prefixes: each is the oracle of
// the other.
TEST(PlaceSumsTest, LongSequencesEqualStreams) {
  std::mt19937_64 random(53);
  constexpr size_t kSize = 6000;
  PlaceSums sums;
  for (const Family& family : families()) {
    for (const int bits : {1, 2, 4, 8, 64}) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols key = family.make(kSize, bits, random);
      const Symbols query = random() % 2 == 0 ? key : family.make(kSize, bits, random);
      const Symbols value = families()[0].make(kSize, 8, random);
      const auto expected = streamed_rows(query, key, value, 8);
      const auto actual = summed_rows<uint64_t, uint8_t, uint32_t>(sums, query, key, value, 8);
      ASSERT_NO_FATAL_FAILURE(expect_equal(actual, expected));
    }
  }
}

TEST(PlaceSumsTest, StreamsThatAreTakenBackEqualTheOracle) {
  std::mt19937_64 random(54);
  for (int bits = 1; bits <= 64; bits += bits < 10 ? 1 : 6) {
    for (const Family& family : families()) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      constexpr size_t kSize = 200;
      const int value_bits = 1 + static_cast<int>(random() % 9);
      const Symbols key = family.make(kSize, bits, random), value = families()[0].make(kSize, value_bits, random);
      Symbols query = key;
      for (uint64_t& symbol : query) symbol = random() % 16 == 0 ? symbol_of(random(), bits) : symbol;
      const auto expected = oracle_rows(query, key, value, value_bits);
      SummedStream stream;
      for (size_t t = 0; t < kSize; ++t) {
        if (random() % 4 == 0) {  // something else, which is taken back
          const size_t count = 1 + random() % 6;
          for (size_t i = 0; i < count; ++i) {
            const uint64_t other =
                random() % 2 == 0 ? symbol_of(random(), 1 + static_cast<int>(random() % 64)) : key[t];
            stream.append(other, other, symbol_of(random(), value_bits), value_bits);
          }
          stream.rewind(count);
        }
        if (random() % 16 == 0) {  // some of the last symbols once more
          const size_t count = random() % (t + 1);
          stream.rewind(count);
          for (size_t i = t - count; i < t; ++i) stream.append_uncounted(query[i], key[i], value[i]);
        }
        if (random() % 20 == 0) stream.save_and_load();
        ASSERT_EQ(stream.append(query[t], key[t], value[t], value_bits), expected[t]) << "at " << t;
        ASSERT_EQ(stream.count(value_bits), expected[t]) << "once more at " << t;
      }
    }
  }
}

// Queries that break the matches of keys with very many places, and what else is hard.
Symbols hostile_query(const Symbols& key, size_t period, std::mt19937_64& random) {
  Symbols query = key;
  for (size_t t = 0; t < query.size(); t += 1 + random() % period) query[t] ^= 1;
  return query;
}

TEST(PlaceSumsTest, TheWorkIsNearLinearOnEveryFamily) {
  std::mt19937_64 random(55);
  constexpr size_t kSize = 8192;
  constexpr int64_t kLogSize = 13;
  int64_t num_fallbacks = 0;
  for (const Family& family : families()) {
    for (const int bits : {1, 4, 8}) {
      const Symbols key = family.make(kSize, bits, random), value = families()[0].make(kSize, 8, random);
      for (const Symbols& query : {key, family.make(kSize, bits, random), hostile_query(key, 60, random)}) {
        SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
        PlaceSums sums;
        const auto rows = summed_rows<uint8_t, uint8_t, uint16_t>(sums, query, key, value, 8);
        EXPECT_LT(sums.work().num_steps, static_cast<int64_t>(kSize) * (16 + 3 * kLogSize));
        num_fallbacks += sums.work().num_fallbacks;
        SummedStream stream;
        for (size_t t = 0; t < kSize; ++t) {
          ASSERT_EQ(stream.append(query[t], key[t], value[t], 8), rows[t]) << "at " << t;
        }
        EXPECT_LT(stream.stream().num_counting_steps(), static_cast<int64_t>(kSize) * (32 + 8 * kLogSize));
      }
    }
  }
  EXPECT_GT(num_fallbacks, 0);  // or the automaton is not tested
}

TEST(PlaceSumsTest, TheWorkOfAppendingAndRewindingIsNearLinear) {
  std::mt19937_64 random(56);
  constexpr size_t kSize = 8192;
  for (const Family& family : families()) {
    for (const int bits : {1, 8, 20}) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols key = family.make(kSize, bits, random), query = hostile_query(key, 40, random);
      SummedStream stream;
      int64_t num_appends = 0;
      for (size_t t = 0; t + 12 < kSize; t += 3) {
        for (size_t i = 0; i < 12; ++i, ++num_appends) stream.append(query[t + i], key[t + i], t & 3, 2);
        stream.rewind(9);
      }
      EXPECT_LT(stream.stream().num_counting_steps(), num_appends * (32 + 8 * 13));
    }
  }
}

TEST(PlaceSumsTest, RefusesWhatDoesNotFit) {
  PlaceSums sums;
  const std::vector<uint8_t> three(3);
  const std::vector<int32_t> numbers(3);
  std::vector<uint16_t> counts(3), room(24);
  const auto sum = [&](int32_t value_bits, std::span<uint16_t> into) {
    sums.sum<uint8_t, uint8_t, uint16_t>(three, three, value_bits, numbers, numbers, counts, into);
  };
  EXPECT_NO_THROW(sum(8, room));
  EXPECT_THROW(sum(7, room), base::ArgumentError);
  EXPECT_THROW(sum(9, room), base::ArgumentError);
  EXPECT_THROW(sum(0, std::span(room).first(0)), base::ArgumentError);
  StreamingMatcher stream;
  stream.append(1, 1);
  std::vector<uint32_t> one(1);
  EXPECT_THROW(stream.count_places(SymbolSequence(), one), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::automaton
