// The tables that KeyChains searches first, against the keys themselves.
#include <gtest/gtest.h>

#include <algorithm>

#include "rosa/automaton/context_tables.h"
#include "rosa/automaton/run_ends.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

// The longest, then latest match of at most `limit` symbols of a context among the keys.
Match oracle_match(const Symbols& keys, uint64_t context, int bits, int32_t limit) {
  Match best;
  for (int32_t i = 0; i < static_cast<int32_t>(keys.size()); ++i) {
    int32_t length = 0;
    while (length < std::min(limit, i + 1) &&
           keys[i - length] == (context >> (64 - bits * (length + 1)) & ((uint64_t{1} << bits) - 1))) {
      ++length;
    }
    if (length > 0 && length >= best.length) best = {i, length};
  }
  return best;
}

TEST(ContextTablesTest, SearchEqualsTheOracleWhileKeysComeAndGo) {
  std::mt19937_64 random(1);
  for (const int bits : {1, 2, 4, 8}) {
    for (const Family& family : families()) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols source = family.make(300, bits, random);
      SymbolSequence sequence;
      Symbols keys;
      ContextTables tables(bits);
      for (int operation = 0; operation < 400; ++operation) {
        if (random() % 8 == 0) {
          for (size_t count = random() % (keys.size() + 1) / 4; count > 0; --count) {
            const int32_t last = sequence.size() - 1;
            tables.take_back(sequence.context(last, bits));
            sequence.truncate(last);
            keys.pop_back();
          }
        } else if (keys.size() < source.size()) {
          tables.grow(sequence, sequence.size() + 1);
          keys.push_back(source[keys.size()]);
          sequence.push_back(keys.back());
          tables.enter(sequence.context(sequence.size() - 1, bits));
        }
        const uint64_t context = random() % 2 == 0 && !keys.empty()
                                     ? sequence.context(static_cast<int32_t>(random() % keys.size()), bits)
                                     : random();
        const auto limit = static_cast<int32_t>(1 + random() % 20);
        ASSERT_EQ(tables.search(context, limit), oracle_match(keys, context, bits, std::min(limit, tables.order())));
      }
    }
  }
}

TEST(ContextTablesTest, ChainsHoldEveryPositionOfTheirContext) {
  std::mt19937_64 random(2);
  SymbolSequence keys;
  ContextTables tables(4);
  for (int32_t i = 0; i < 2000; ++i) {
    tables.grow(keys, i + 1);
    keys.push_back(random() % 3);
    tables.enter(keys.context(i, 4));
  }
  EXPECT_GE(tables.order(), 2);
  const uint64_t context = keys.context(1000, 4);
  std::vector<int32_t> chain;
  for (uint32_t entry = tables.first(context); entry != 0; entry = tables.previous()[entry - 1]) {
    chain.push_back(static_cast<int32_t>(entry) - 1);
  }
  std::vector<int32_t> expected;
  for (int32_t i = keys.size() - 1; i >= 0; --i) {
    if ((keys.context(i, 4) ^ context) >> (64 - 4 * tables.order()) == 0) expected.push_back(i);
  }
  EXPECT_EQ(chain, expected);
}

TEST(SymbolSequenceTest, ContextsHoldTheLastSymbols) {
  std::mt19937_64 random(3);
  for (const int bits : {1, 2, 4, 8}) {
    SymbolSequence sequence;
    uint64_t expected = 0;
    for (int32_t i = 0; i < 100; ++i) {
      const uint64_t symbol = symbol_of(random(), bits);
      sequence.push_back(symbol);
      expected = expected >> bits | symbol << (64 - bits);
      ASSERT_EQ(sequence.context(i, bits), expected) << "bits " << bits << ", at " << i;
    }
  }
}

TEST(RunEndsTest, SearchEqualsTheOracleWhileKeysComeAndGo) {
  std::mt19937_64 random(4);
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Symbols source = family.make(400, 2, random);
    SymbolSequence keys;
    RunEnds ends;
    for (int operation = 0; operation < 600; ++operation) {
      if (random() % 10 == 0) {
        const auto size = static_cast<int32_t>(random() % (static_cast<uint64_t>(keys.size()) + 1));
        ends.rewind(keys, size);
        keys.truncate(size);
      } else if (keys.size() < static_cast<int32_t>(source.size())) {
        keys.push_back(source[keys.size()]);
      }
      if (random() % 3 == 0) continue;  // keys may be seen late
      ends.extend(keys);
      const uint64_t symbol = random() % 4;
      const auto limit = static_cast<int32_t>(1 + random() % 90);
      Match expected;
      for (int32_t i = 0; i < keys.size(); ++i) {
        int32_t length = 0;
        while (length < std::min(limit, i + 1) && keys[i - length] == symbol) ++length;
        if (length > 0 && length >= expected.length) expected = {i, length};
      }
      ASSERT_EQ(ends.search(symbol, limit), expected);
    }
  }
}

}  // namespace
}  // namespace rosa::automaton
