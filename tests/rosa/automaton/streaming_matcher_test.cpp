#include "rosa/automaton/streaming_matcher.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/error.h"
#include "rosa/automaton/matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

TEST(StreamingMatcherTest, DocumentsEqualEachAlone) {
  std::mt19937_64 random(3);
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    StreamingMatcher stream;
    int64_t start = 0;
    for (const size_t size : {1, 50, 0, 120}) {
      const Symbols symbols = family.make(size, 2, random);
      const auto expected = oracle_matches(symbols, symbols);
      for (size_t t = 0; t < size; ++t) {
        const Match match = stream.append(symbols[t], symbols[t]);
        ASSERT_EQ(match.length, expected[t].length);
        ASSERT_EQ(match.position, match.length > 0 ? expected[t].position + start : -1);
      }
      start += static_cast<int64_t>(size);
      ASSERT_EQ(stream.size(), start);
      stream.start_document();
    }
  }
}

TEST(StreamingMatcherTest, CopiesGoTheirOwnWays) {
  std::mt19937_64 random(4);
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const size_t size = 200;
    const Symbols common = family.make(size, 2, random);
    StreamingMatcher original;
    for (const uint64_t symbol : common) original.append(symbol, symbol);
    StreamingMatcher copy = original;
    StreamingMatcher assigned;
    assigned.append(1, 1);
    assigned = original;
    std::vector<std::pair<StreamingMatcher*, Symbols>> streams{
        {&original, common}, {&copy, common}, {&assigned, common}};
    std::vector<std::vector<Match>> matches(streams.size());
    for (size_t t = 0; t < size; ++t) {
      for (size_t s = 0; s < streams.size(); ++s) {
        const uint64_t symbol = s == 0 ? common[t] : random() % 4;
        streams[s].second.push_back(symbol);
        matches[s].push_back(streams[s].first->append(symbol, symbol));
      }
    }
    for (size_t s = 0; s < streams.size(); ++s) {
      const auto expected = oracle_matches(streams[s].second, streams[s].second);
      for (size_t t = 0; t < size; ++t) ASSERT_EQ(matches[s][t], expected[size + t]);
    }
  }
}

TEST(StreamingMatcherTest, ALoadedStateGoesOnBitForBit) {
  std::mt19937_64 random(5);
  for (const int bits : {1, 4, 8, 17, 63}) {
    for (const Family& family : families()) {
      SCOPED_TRACE(family.name);
      const size_t size = 160;
      const Symbols query = family.make(size, bits, random);
      const Symbols key = random() % 2 == 0 ? query : family.make(size, bits, random);
      StreamingMatcher stream;
      stream.append(1, 1);
      stream.start_document();
      for (size_t t = 0; t < size; ++t) {
        if (t % 13 == 0) {
          const std::vector<std::byte> bytes = stream.save();
          StreamingMatcher loaded = StreamingMatcher::load(bytes);
          ASSERT_EQ(loaded.size(), stream.size());
          ASSERT_EQ(loaded.save(), bytes);
          StreamingMatcher going_on = stream;
          for (size_t u = t; u < std::min(size, t + 40); ++u) {
            ASSERT_EQ(loaded.append(query[u], key[u]), going_on.append(query[u], key[u])) << "saved at " << t;
          }
          ASSERT_EQ(loaded.save(), going_on.save());
        }
        stream.append(query[t], key[t]);
      }
    }
  }
}

TEST(StreamingMatcherTest, DamagedBytesAreRefused) {
  StreamingMatcher stream;
  std::mt19937_64 random(6);
  for (int t = 0; t < 60; ++t) stream.append(random() % 2, random() % 2);
  const std::vector<std::byte> bytes = stream.save();
  EXPECT_THROW(StreamingMatcher::load({}), base::DataError);
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_THROW(StreamingMatcher::load(std::span(bytes).first(size)), base::DataError) << size;
  }
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i / 8] ^= std::byte{1} << (i % 8);
    EXPECT_THROW(StreamingMatcher::load(damaged), base::DataError) << "bit " << i;
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{0});
  EXPECT_THROW(StreamingMatcher::load(longer), base::DataError);
}

// Writes the checksum anew, as somebody hostile would.
void seal(std::vector<std::byte>& bytes) {
  const uint64_t hash = base::checksum(std::span(bytes).first(bytes.size() - 8));
  for (size_t i = 0; i < 8; ++i) bytes[bytes.size() - 8 + i] = static_cast<std::byte>(hash >> (8 * i));
}

TEST(StreamingMatcherTest, HostileBytesWithAGoodChecksumAreRefusedOrHarmless) {
  StreamingMatcher stream;
  std::mt19937_64 random(6);
  for (int t = 0; t < 60; ++t) stream.append(random() % 2, random() % 2);
  const std::vector<std::byte> bytes = stream.save();
  int num_refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> damaged = bytes;
    const int num_changes = 1 + static_cast<int>(random() % 3);
    for (int i = 0; i < num_changes; ++i) damaged[random() % damaged.size()] = static_cast<std::byte>(random());
    if (random() % 8 == 0) damaged.resize(random() % damaged.size());
    if (damaged.size() >= 8) seal(damaged);
    try {
      StreamingMatcher loaded = StreamingMatcher::load(damaged);
      for (int t = 0; t < 20; ++t) {
        const uint64_t symbol = random() % 2;
        const Match match = loaded.append(symbol, symbol);
        ASSERT_LT(match.position, loaded.size());
      }
    } catch (const base::DataError&) {
      ++num_refused;
    }
  }
  EXPECT_GT(num_refused, 1000);
}

TEST(StreamingMatcherTest, AnotherVersionIsRefusedByName) {
  std::vector<std::byte> bytes = StreamingMatcher().save();
  bytes[8] = std::byte{99};
  seal(bytes);
  try {
    StreamingMatcher::load(bytes);
    FAIL() << "accepted";
  } catch (const base::DataError& error) {
    EXPECT_NE(std::string(error.what()).find("version 99"), std::string::npos) << error.what();
  }
}

// Counts work, not time: no input may come near quadratic.
TEST(StreamingMatcherTest, TheWorkIsNearLinearOnEveryFamily) {
  std::mt19937_64 random(8);
  const size_t size = 65536;
  for (const Family& family : families()) {
    for (const int bits : {1, 8}) {
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      const Symbols symbols = family.make(size, bits, random);
      const Symbols other = family.make(size, bits, random);
      for (const Symbols* query : {&symbols, &other}) {
        StreamingMatcher stream;
        for (size_t t = 0; t < size; ++t) stream.append((*query)[t], symbols[t]);
        EXPECT_LT(stream.num_steps(), static_cast<int64_t>(100 * size));
        RecordProperty(family.name + std::to_string(bits), std::to_string(stream.num_steps() / size));
      }
    }
  }
}

// The match of the last query, straight from the definition.
Match oracle_match(const Symbols& query, const Symbols& key) {
  const auto t = static_cast<int32_t>(query.size()) - 1;
  Match best;
  for (int32_t i = 0; i < t; ++i) {
    int32_t length = 0;
    while (length <= i && query[t - length] == key[i - length]) ++length;
    if (length > 0 && length >= best.length) best = {i, length};
  }
  return best;
}

TEST(StreamingMatcherTest, AppendRewindCopySaveAndLoadInAnyOrderEqualTheOracle) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 60; ++round) {
    const std::vector<Family> all = families();
    const Family& family = all[round % all.size()];
    const int bits = std::vector<int>{1, 2, 4, 8, 20}[round % 5];
    SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
    const Symbols source = family.make(400, bits, random);
    Symbols query;
    Symbols key;
    StreamingMatcher stream;
    for (int operation = 0; operation < 600; ++operation) {
      const uint64_t kind = random() % 40;
      if (kind == 0) {
        const size_t count =
            random() % 3 == 0 ? random() % (key.size() + 1) : random() % std::min<size_t>(key.size() + 1, 8);
        stream.rewind(static_cast<int64_t>(count));
        query.resize(query.size() - count);
        key.resize(key.size() - count);
      } else if (kind == 1) {
        stream = StreamingMatcher::load(stream.save());
      } else if (kind == 2) {
        const StreamingMatcher copy = stream;
        stream.append(random() % 2, random() % 2);  // forgotten
        stream = copy;
      } else if (key.size() < source.size()) {
        key.push_back(source[key.size()]);
        query.push_back(random() % 20 == 0 ? symbol_of(random(), bits) : key.back());
        ASSERT_EQ(stream.append(query.back(), key.back()), oracle_match(query, key)) << "at " << key.size() - 1;
      }
      ASSERT_EQ(stream.size(), static_cast<int64_t>(key.size()));
    }
  }
}

TEST(StreamingMatcherTest, ARewoundStateEqualsOneThatNeverWentThere) {
  std::mt19937_64 random(12);
  const size_t size = 20000;  // enough for the automaton to take over on some
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Symbols symbols = family.make(size, 4, random);
    StreamingMatcher straight;
    StreamingMatcher rewound;
    for (size_t t = 0; t < size; ++t) {
      if (t % 4000 == 3999) {
        const int64_t count = 1 + static_cast<int64_t>(random() % 3000);
        for (int64_t i = 0; i < count; ++i) rewound.append(random() % 4, random() % 4);
        rewound.rewind(count);
        ASSERT_EQ(rewound.save(), straight.save());
      }
      ASSERT_EQ(rewound.append(symbols[t], symbols[t]), straight.append(symbols[t], symbols[t])) << "at " << t;
    }
  }
}

// Long enough for every kind of table, level and filter; what was taken back leaves no trace.
TEST(StreamingMatcherTest, LongStreamsEqualTheMatcherOfWholeSequences) {
  std::mt19937_64 random(15);
  const size_t size = 40000;
  Matcher matcher;
  for (const Family& family : families()) {
    for (const int bits : {1, 4, 8}) {
      const Symbols key = family.make(size, bits, random);
      const Symbols query = random() % 2 == 0 ? key : family.make(size, bits, random);
      SCOPED_TRACE(family.name + ", bits " + std::to_string(bits));
      std::vector<int32_t> positions(size), lengths(size);
      matcher.match<uint64_t>(query, key, positions, lengths);
      StreamingMatcher stream;
      for (size_t t = 0; t < size; ++t) {
        ASSERT_EQ(stream.append(query[t], key[t]), (Match{positions[t], lengths[t]})) << "at " << t;
        if (t % 1000 != 999) continue;
        const size_t count = random() % 50;
        for (size_t i = 0; i < count; ++i) stream.append(query[i * 7], key[random() % (i + 1)]);
        stream.rewind(static_cast<int64_t>(count));
      }
    }
  }
}

TEST(StreamingMatcherTest, RewindingStaysInsideTheDocument) {
  StreamingMatcher stream;
  stream.append(1, 1);
  stream.start_document();
  stream.append(1, 1);
  stream.append(1, 1);
  EXPECT_THROW(stream.rewind(3), base::ArgumentError);
  EXPECT_THROW(stream.rewind(-1), base::ArgumentError);
  stream.rewind(2);
  EXPECT_EQ(stream.size(), 1);
  EXPECT_EQ(stream.append(1, 1), Match{});
  EXPECT_EQ(stream.append(1, 1), (Match{1, 1}));
}

// As in speculative decoding: every other append is taken back.
TEST(StreamingMatcherTest, TheWorkOfRewindingIsNearLinear) {
  std::mt19937_64 random(13);
  const size_t size = 30000;
  for (const Family& family : families()) {
    SCOPED_TRACE(family.name);
    const Symbols symbols = family.make(size, 8, random);
    StreamingMatcher stream;
    for (size_t t = 0; t < size; ++t) {
      stream.append(symbols[t], symbols[t]);
      if (t % 8 != 7) continue;
      for (int i = 0; i < 4; ++i) stream.append(random() % 256, random() % 256);
      stream.rewind(4);
    }
    RecordProperty(family.name, std::to_string(stream.num_steps() / size));
    EXPECT_LT(stream.num_steps(), static_cast<int64_t>(600 * size));
  }
}

TEST(StreamingMatcherTest, MemoryIsBounded) {
  std::mt19937_64 random(14);
  const size_t size = 100000;
  StreamingMatcher uniform;
  StreamingMatcher constant;
  for (size_t t = 0; t < size; ++t) {
    const uint64_t symbol = random() % 256;
    uniform.append(symbol, symbol);
    constant.append(7, 7);
  }
  EXPECT_LE(uniform.num_bytes(), 50 * size);
  EXPECT_LE(constant.num_bytes(), 2 * size);
}

}  // namespace
}  // namespace rosa::automaton
