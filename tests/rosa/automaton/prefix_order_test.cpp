// The order of all prefixes, which StreamingMatcher searches where nothing else is fast, against the oracle.
#include "rosa/automaton/prefix_order.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

// What StreamingMatcher does, with nothing but the order.
class OrderedStream {
 public:
  Match append(uint64_t query, uint64_t key) {
    matches_.push_back(order_.search(keys_, matches_.empty() ? Match{} : matches_.back(), query));
    keys_.push_back(key);
    return matches_.back();
  }
  void rewind(size_t num_symbols) {
    keys_.truncate(keys_.size() - static_cast<int32_t>(num_symbols));
    order_.rewind(keys_.size());
    matches_.resize(keys_.size());
  }
  int64_t num_steps() const { return order_.num_steps(); }
  size_t num_bytes() const { return order_.num_bytes(); }

 private:
  SymbolSequence keys_;
  PrefixOrder order_;
  std::vector<Match> matches_;
};

TEST(PrefixOrderTest, SearchEqualsTheOracleWhileKeysComeAndGo) {
  std::mt19937_64 random(41);
  for (const int bits : {1, 2, 8, 9, 64}) {
    for (const Family& family : families()) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols source = family.make(700, bits, random);
      OrderedStream stream;
      OracleStream oracle;
      for (int step = 0; step < 900; ++step) {
        if (random() % 12 == 0) {
          const size_t most = random() % 8 == 0 ? oracle.size() : std::min<size_t>(oracle.size(), 9);
          const size_t count = random() % (most + 1);
          stream.rewind(count);
          oracle.rewind(count);
        }
        const uint64_t key = source[oracle.size() % source.size()];
        const uint64_t query = random() % 16 == 0 ? symbol_of(random(), bits) : key;
        ASSERT_EQ(stream.append(query, key), oracle.append(query, key)) << "at " << oracle.size() - 1;
      }
    }
  }
}

// Each step is a node; log2 of the size is 14.
TEST(PrefixOrderTest, TheWorkIsNearLinearOnEveryFamilyAlsoWhereMostIsTakenBack) {
  std::mt19937_64 random(42);
  constexpr size_t kSize = 16384;
  for (const Family& family : families()) {
    for (const int bits : {1, 8}) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols symbols = family.make(kSize, bits, random);
      for (const size_t num_taken_back : {0, 4}) {
        OrderedStream stream;
        int64_t num_appends = 0;
        for (size_t t = 0; t + num_taken_back < kSize; ++t) {
          for (size_t i = 0; i <= num_taken_back; ++i, ++num_appends) stream.append(symbols[t + i], symbols[t + i]);
          stream.rewind(num_taken_back);
          if (num_taken_back > 0) t += 3;
        }
        EXPECT_LT(stream.num_steps(), 8 * 14 * num_appends);
        EXPECT_LT(stream.num_bytes(), 50 * kSize);
        RecordProperty(family.name + std::to_string(bits) + "," + std::to_string(num_taken_back),
                       std::to_string(stream.num_steps() / num_appends));
      }
    }
  }
}

}  // namespace
}  // namespace rosa::automaton
