// StreamingMatcher against a slow oracle, at every width of symbols and with appends, rewinds, copies, saves, loads and
// new documents in any order; and how its work grows where much is taken back.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "rosa/automaton/matcher.h"
#include "rosa/automaton/streaming_matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

// A StreamingMatcher beside its oracle: every call goes to both, every answer is compared.
class Twins {
 public:
  explicit Twins(uint64_t seed) : random_(seed) {}

  void append(uint64_t query, uint64_t key) {
    const Match expected = oracle_.append(query, key);
    ASSERT_EQ(stream_.append(query, key), expected) << "at " << oracle_.size() - 1;
  }
  void rewind(size_t num_symbols) {
    stream_.rewind(static_cast<int64_t>(num_symbols));
    oracle_.rewind(num_symbols);
    ASSERT_EQ(stream_.size(), static_cast<int64_t>(oracle_.size()));
    ASSERT_EQ(stream_.document_size(), static_cast<int64_t>(oracle_.document_size()));
  }
  // Does something that is no append: mostly what leaves the stream as it was, or takes a few symbols back.
  void disturb() {
    switch (random_() % 8) {
      case 0: {
        const std::vector<std::byte> bytes = stream_.save();
        stream_ = StreamingMatcher::load(bytes);
        ASSERT_EQ(stream_.save(), bytes);
        break;
      }
      case 1: {
        StreamingMatcher copy = stream_;
        stream_.append(random_(), random_());  // forgotten
        stream_ = std::move(copy);
        break;
      }
      case 2:
        return rewind(random_() % (oracle_.document_size() + 1));
      case 3:
        if (random_() % 8 != 0) return rewind(oracle_.document_size());
        stream_.start_document();
        oracle_.start_document();
        break;
      default:
        return rewind(std::min<size_t>(oracle_.document_size(), random_() % 8));
    }
  }
  uint64_t random() { return random_(); }
  size_t document_size() const { return oracle_.document_size(); }
  const StreamingMatcher& stream() const { return stream_; }

 private:
  std::mt19937_64 random_;
  StreamingMatcher stream_;
  OracleStream oracle_;
};

TEST(StreamingDifferentialTest, EveryWidthInAnyOrderOfCalls) {
  std::mt19937_64 random(21);
  for (int bits = 1; bits <= 64; ++bits) {
    for (const Family& family : families()) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols source = family.make(240, bits, random);
      Twins twins(random());
      for (int step = 0; step < 260 && !testing::Test::HasFatalFailure(); ++step) {
        if (twins.random() % 12 == 0) twins.disturb();
        const uint64_t key = source[twins.document_size() % source.size()];
        twins.append(twins.random() % 16 == 0 ? symbol_of(twins.random(), bits) : key, key);
      }
      ASSERT_FALSE(testing::Test::HasFatalFailure());
    }
  }
}

// Keys get wider and narrower again, and those that were wider than all before are often taken back, searched or not.
TEST(StreamingDifferentialTest, WidthsThatChangeInMidStream) {
  std::mt19937_64 random(22);
  constexpr int kWidths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64};
  for (int round = 0; round < 1500; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Twins twins(random());
    int bits = 1;
    for (int step = 0; step < 150 && !testing::Test::HasFatalFailure(); ++step) {
      if (twins.random() % 10 == 0) twins.disturb();
      if (twins.random() % 12 == 0) bits = kWidths[twins.random() % std::min<size_t>(std::size(kWidths), 2 + step / 8)];
      // Few values of each width, so that there are matches.
      const auto draw = [&] {
        const uint64_t value = twins.random() % 3;
        return twins.random() % 6 == 0 ? ~uint64_t{0} >> (64 - bits) : symbol_of(value, bits);
      };
      const uint64_t key = draw();
      twins.append(twins.random() % 4 == 0 ? draw() : key, key);
    }
    ASSERT_FALSE(testing::Test::HasFatalFailure());
  }
}

// The least of it: narrow keys, one wider key at every width, all taken back to every size.
TEST(StreamingDifferentialTest, OneWiderKeyThatIsTakenBack) {
  for (const int bits : {2, 3, 5, 8, 9, 16, 17, 33, 64}) {
    const uint64_t wide = uint64_t{1} << (bits - 1);
    for (const int num_narrow : {0, 1, 9, 20}) {
      for (int kept = 0; kept <= num_narrow; ++kept) {
        for (const bool is_searched : {false, true}) {
          SCOPED_TRACE("bits " + std::to_string(bits) + ", narrow " + std::to_string(num_narrow) + ", kept " +
                       std::to_string(kept) + (is_searched ? ", searched" : ""));
          Twins twins(1);
          StreamingMatcher straight;
          const auto narrow = [](int i) { return std::pair<uint64_t, uint64_t>(i % 3 == 2, i % 2); };
          for (int i = 0; i < num_narrow; ++i) twins.append(narrow(i).first, narrow(i).second);
          for (int i = 0; i < kept; ++i) straight.append(narrow(i).first, narrow(i).second);
          twins.append(0, wide);
          if (is_searched) twins.append(wide, 1);
          twins.rewind(static_cast<size_t>(num_narrow - kept + (is_searched ? 2 : 1)));
          ASSERT_EQ(twins.stream().save(), straight.save());  // no trace is left
          for (const uint64_t symbol : {uint64_t{1}, uint64_t{0}, wide, wide, uint64_t{0}}) {
            twins.append(symbol, symbol);
            ASSERT_FALSE(testing::Test::HasFatalFailure());
          }
        }
      }
    }
  }
}

// Long enough for every kind of table and level, where symbols are too wide for tables too.
TEST(StreamingDifferentialTest, LongStreamsEqualTheMatcherOfWholeSequences) {
  std::mt19937_64 random(23);
  constexpr size_t kSize = 8000;
  Matcher matcher;
  for (const Family& family : families()) {
    for (const int bits : {2, 9, 64}) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols key = family.make(kSize, bits, random);
      const Symbols query = random() % 2 == 0 ? key : family.make(kSize, bits, random);
      std::vector<int32_t> positions(kSize), lengths(kSize);
      matcher.match<uint64_t>(query, key, positions, lengths);
      StreamingMatcher stream;
      for (size_t t = 0; t < kSize; ++t) {
        ASSERT_EQ(stream.append(query[t], key[t]), (Match{positions[t], lengths[t]})) << "at " << t;
        if (t % 100 != 99) continue;
        const size_t count = std::min<size_t>(t, t % 2000 == 1999 ? random() % (t + 1) : random() % 12);
        for (size_t i = 0; i < count; ++i) stream.append(query[i * 7 % kSize], key[random() % (i + 1)]);
        if (random() % 8 == 0) stream.append(0, ~uint64_t{0});
        stream.rewind(stream.size() - static_cast<int64_t>(t) - 1);
        if (t % 3000 == 2999) stream = StreamingMatcher::load(stream.save());
      }
    }
  }
}

// A sequence that is hard where parts of it are appended and taken back again and again.
struct Pattern {
  std::string name;
  std::function<uint64_t(size_t t, size_t size)> at;
};

std::vector<Pattern> patterns() {
  const auto is_power = [](size_t t) { return (t & (t - 1)) == 0; };
  return {
      {"constant", [](size_t, size_t) { return uint64_t{0}; }},
      {"constant, one flip in the middle", [](size_t t, size_t size) { return uint64_t{t == size / 2}; }},
      {"constant, one early flip", [](size_t t, size_t) { return uint64_t{t == 5}; }},
      {"constant, two flips", [](size_t t, size_t size) { return uint64_t{t == size / 3 || t == size / 2}; }},
      {"flips at powers of two", [=](size_t t, size_t) { return uint64_t{is_power(t)}; }},
      {"constant, then period 5", [](size_t t, size_t size) { return uint64_t{t > size / 2 && t % 5 == 0}; }},
      {"period 3, one flip", [](size_t t, size_t size) { return uint64_t{t % 3 == 0} ^ uint64_t { t == size / 2 }; }},
      {"runs of a root", [](size_t t, size_t) { return uint64_t{t % 128 == 0}; }},
      {"runs of all lengths", [](size_t t, size_t) { return static_cast<uint64_t>(std::sqrt(2.0 * t)) & 1; }},
      {"Fibonacci",
       [](size_t t, size_t) { return static_cast<uint64_t>(std::fmod(t * 0.6180339887498949, 1) < 0.382); }},
      {"Thue-Morse", [](size_t t, size_t) { return static_cast<uint64_t>(std::popcount(t) & 1); }},
      {"ruler", [](size_t t, size_t) { return static_cast<uint64_t>(std::countr_zero(t + 1)); }},
  };
}

// Appends the pattern, with `num_false` symbols appended and taken back after each `num_true`: the next ones of the
// pattern, or others. Returns the steps an append.
int64_t steps_an_append(const Pattern& pattern, size_t size, size_t num_true, size_t num_false, bool is_pattern,
                        int shift) {
  StreamingMatcher stream;
  int64_t num_appends = 0;
  const auto append = [&](uint64_t symbol) {
    stream.append(symbol << shift, symbol << shift);
    ++num_appends;
  };
  for (size_t t = 0; t < size;) {
    for (size_t i = 0; i < num_true; ++i) append(pattern.at(t++, size));
    for (size_t i = 0; i < num_false; ++i) append(pattern.at(t + i, size) ^ uint64_t{!is_pattern && i % 3 == 0});
    stream.rewind(static_cast<int64_t>(num_false));
  }
  return stream.num_steps() / num_appends;
}

// Counts steps, not time: no pattern of appends and rewinds may come near quadratic. Symbols in the tables and wide.
TEST(StreamingDifferentialTest, TheWorkOfAppendingAndRewindingIsNearLinear) {
  constexpr size_t kSize = 32768;
  constexpr int64_t kMostSteps = 6 * 15;  // log2(kSize) is 15
  for (const Pattern& pattern : patterns()) {
    for (const auto& [num_true, num_false] : std::vector<std::pair<size_t, size_t>>{{1, 4}, {7, 40}}) {
      for (const bool is_pattern : {true, false}) {
        for (const int shift : {0, 20}) {
          EXPECT_LT(steps_an_append(pattern, kSize, num_true, num_false, is_pattern, shift), kMostSteps)
              << pattern.name << ": " << num_true << " kept, " << num_false << (is_pattern ? " of its own" : " others")
              << " taken back, shifted by " << shift;
        }
      }
    }
  }
}

// The end of a hard sequence is crossed for ever: the work of one crossing must not depend on what lies before it.
TEST(StreamingDifferentialTest, CrossingTheSamePlaceAgainAndAgainIsCheap) {
  constexpr size_t kSize = 50000;
  for (const Pattern& pattern : patterns()) {
    for (const int shift : {0, 20}) {
      StreamingMatcher stream;
      for (size_t t = 0; t < kSize; ++t) {
        stream.append(pattern.at(t, kSize) << shift, pattern.at(t, kSize) << shift);
      }
      // What chains may cost before they are given up was earned by all appends so far.
      const int64_t before = stream.num_steps();
      constexpr int64_t kRounds = 40000;
      for (int64_t round = 0; round < kRounds; ++round) {
        stream.append(uint64_t{1} << shift, uint64_t{1} << shift);
        stream.append(0, 0);
        stream.rewind(2);
      }
      EXPECT_LT(stream.num_steps() - before, 8 * 16 * (2 * kRounds + static_cast<int64_t>(kSize)))
          << pattern.name << ", shifted by " << shift;
    }
  }
}

}  // namespace
}  // namespace rosa::automaton
