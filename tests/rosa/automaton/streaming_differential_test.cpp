// StreamingMatcher against a slow oracle, at every width of symbols and with appends, rewinds, copies, saves, loads and
// new documents in any order; and how its work grows where much is taken back.
#include <gtest/gtest.h>

#include <algorithm>
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

}  // namespace
}  // namespace rosa::automaton
