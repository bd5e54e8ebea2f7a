// The C interface against the matchers under it; what it refuses; and streams on many threads.
#include "rosa/c/rosa_c.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/checksum.h"
#include "rosa/automaton/matcher.h"
#include "rosa/automaton/streaming_matcher.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::c {
namespace {

using automaton::Match;
using automaton::oracle_matches;
using automaton::StreamingMatcher;
using automaton::Symbols;

struct Free {
  void operator()(rosa_stream* stream) const { rosa_stream_free(stream); }
};
using Stream = std::unique_ptr<rosa_stream, Free>;

Stream created(int64_t batch, int64_t heads, int64_t kv_heads) {
  rosa_stream* stream = nullptr;
  EXPECT_EQ(rosa_stream_create(batch, heads, kv_heads, &stream), ROSA_C_OK) << rosa_c_error();
  return Stream(stream);
}

// Sequences of batch x heads queries on batch x kv_heads keys and values, of every family.
struct Case {
  int64_t batch, heads, kv_heads, length;
  Symbols query, key, value;

  Case(int64_t batch_, int64_t heads_, int64_t kv_heads_, int64_t length_, int bits, uint64_t seed)
      : batch(batch_), heads(heads_), kv_heads(kv_heads_), length(length_) {
    std::mt19937_64 random(seed);
    const auto families = automaton::families();
    const auto add = [&](Symbols& rows) {
      const Symbols row = families[random() % families.size()].make(static_cast<size_t>(length), bits, random);
      rows.insert(rows.end(), row.begin(), row.end());
    };
    for (int64_t row = 0; row < batch * kv_heads; ++row) {
      add(key);
      for (int64_t t = 0; t < length; ++t) value.push_back(random());
    }
    for (int64_t row = 0; row < batch * heads; ++row) {
      const int64_t first = kv_row(row) * length;
      // The keys, with some symbols of their own: both long and broken matches.
      for (int64_t t = 0; t < length; ++t) {
        query.push_back(random() % 10 == 0 ? automaton::symbol_of(random(), bits) : key[first + t]);
      }
    }
  }

  int64_t kv_row(int64_t row) const { return row / heads * kv_heads + row % heads / (heads / kv_heads); }
  Symbols row_of(const Symbols& rows, int64_t row) const {
    return {rows.begin() + row * length, rows.begin() + (row + 1) * length};
  }
  // Positions first ... last - 1 of all rows.
  Symbols columns(const Symbols& rows, int64_t first, int64_t last) const {
    Symbols part;
    for (size_t row = 0; row < rows.size() / length; ++row) {
      part.insert(part.end(), rows.begin() + row * length + first, rows.begin() + row * length + last);
    }
    return part;
  }
};

struct Answer {
  std::vector<int32_t> positions;
  Symbols retrieved;
  friend bool operator==(const Answer&, const Answer&) = default;
};

Answer append(rosa_stream* stream, const Case& all, int64_t first, int64_t last, int threads = 1) {
  const Symbols query = all.columns(all.query, first, last), key = all.columns(all.key, first, last);
  const Symbols value = all.columns(all.value, first, last);
  Answer answer{std::vector<int32_t>(query.size(), -7), Symbols(query.size(), 7)};
  EXPECT_EQ(rosa_stream_append(stream, last - first, query.data(), key.data(), value.data(), nullptr, threads,
                               answer.retrieved.data(), answer.positions.data()),
            ROSA_C_OK)
      << rosa_c_error();
  return answer;
}

// Of the columns first ... last - 1, by the matcher's own class.
Answer expected_answer(const Case& all, int64_t first, int64_t last) {
  Answer answer;
  for (int64_t row = 0; row < all.batch * all.heads; ++row) {
    StreamingMatcher matcher;
    const Symbols query = all.row_of(all.query, row), key = all.row_of(all.key, all.kv_row(row));
    const Symbols value = all.row_of(all.value, all.kv_row(row));
    for (int64_t t = 0; t < last; ++t) {
      const Match match = matcher.append(query[t], key[t]);
      if (t < first) continue;
      answer.positions.push_back(match.position);
      answer.retrieved.push_back(match.position >= 0 ? value[match.position + 1] : 0);
    }
  }
  return answer;
}

// Lengths and means of whole sequences.
struct FullAnswer {
  std::vector<int32_t> lengths;
  std::vector<float> means;
  friend bool operator==(const FullAnswer&, const FullAnswer&) = default;
};

FullAnswer unwritten(const Case& all, int value_bits) {
  return {std::vector<int32_t>(all.query.size(), -7), std::vector<float>(all.query.size() * value_bits, -7)};
}

// By definition.
FullAnswer expected_full_answer(const Case& all, int value_bits) {
  FullAnswer answer;
  for (int64_t row = 0; row < all.batch * all.heads; ++row) {
    const Symbols query = all.row_of(all.query, row), key = all.row_of(all.key, all.kv_row(row));
    const Symbols value = all.row_of(all.value, all.kv_row(row));
    const std::vector<Match> matches = oracle_matches(query, key);
    for (int64_t t = 0; t < all.length; ++t) {
      answer.lengths.push_back(matches[t].length);
      std::vector<int> sums(value_bits);
      int count = 0;
      for (int64_t i = 0; i < t && matches[t].length > 0; ++i) {
        int32_t length = 0;
        while (length <= i && query[t - length] == key[i - length]) ++length;
        if (length != matches[t].length) continue;
        ++count;
        for (int bit = 0; bit < value_bits; ++bit) sums[bit] += static_cast<int>(value[i + 1] >> bit & 1);
      }
      for (const int sum : sums) {
        answer.means.push_back(count == 0 ? 0 : static_cast<float>(sum) / static_cast<float>(count));
      }
    }
  }
  return answer;
}

TEST(RosaCTest, LengthsAndMeansAreTheirDefinition) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const Case all(2, 4, 2, 80, seed % 3 == 0 ? 64 : 2, seed);
    const int value_bits = seed % 2 == 0 ? 8 : 63;
    const FullAnswer expected = expected_full_answer(all, value_bits);
    FullAnswer whole = unwritten(all, value_bits), streamed = unwritten(all, value_bits);
    const auto match_all = [&](int bits) {
      return rosa_match_full(2, 4, 2, 80, all.query.data(), all.key.data(), all.value.data(), nullptr, 2, bits, nullptr,
                             nullptr, whole.lengths.data(), whole.means.data());
    };
    ASSERT_EQ(match_all(value_bits), ROSA_C_OK) << rosa_c_error();
    ASSERT_EQ(whole, expected);
    EXPECT_EQ(match_all(64), ROSA_C_BAD_ARGUMENT);
    const Stream stream = created(2, 4, 2);
    const auto append_all = [&](int bits) {
      return rosa_stream_append_full(stream.get(), 80, all.query.data(), all.key.data(), all.value.data(), nullptr, 2,
                                     bits, nullptr, nullptr, streamed.lengths.data(), streamed.means.data());
    };
    for (int round = 0; round < 2; ++round) {  // the second after all was taken back
      ASSERT_EQ(append_all(value_bits), ROSA_C_OK) << rosa_c_error();
      ASSERT_EQ(streamed, expected);
      const std::vector<int64_t> counts(2, 80);
      ASSERT_EQ(rosa_stream_rewind(stream.get(), counts.data()), ROSA_C_OK);
    }
    for (const int bits : {0, 64, value_bits - 1}) EXPECT_EQ(append_all(bits), ROSA_C_BAD_ARGUMENT);
  }
}

TEST(RosaCTest, AStreamIsTheStreamingMatcher) {
  for (uint64_t seed = 0; seed < 24; ++seed) {
    const int64_t group = 1 + static_cast<int64_t>(seed % 3);
    const Case all(1 + static_cast<int64_t>(seed % 2), 2 * group, 2, 200, seed % 4 == 0 ? 64 : 3, seed);
    const Stream stream = created(all.batch, all.heads, all.kv_heads);
    for (const auto& [first, last] : {std::pair{0, 90}, {90, 91}, {91, 91}, {91, 200}}) {
      ASSERT_EQ(append(stream.get(), all, first, last, 1 + seed % 3), expected_answer(all, first, last));
    }
    std::vector<int64_t> sizes(all.batch);
    ASSERT_EQ(rosa_stream_sizes(stream.get(), sizes.data()), ROSA_C_OK);
    ASSERT_EQ(sizes, std::vector<int64_t>(all.batch, 200));
  }
}

TEST(RosaCTest, WholeSequencesMatchAsTheDefinitionSays) {
  for (uint64_t seed = 0; seed < 24; ++seed) {
    const Case all(2, 4, seed % 2 == 0 ? 2 : 4, 120, seed % 3 == 0 ? 9 : 2, seed);
    Answer answer{std::vector<int32_t>(all.query.size()), Symbols(all.query.size())};
    std::vector<int32_t> lengths(all.query.size());
    ASSERT_EQ(
        rosa_match(all.batch, all.heads, all.kv_heads, all.length, all.query.data(), all.key.data(), all.value.data(),
                   nullptr, 2, answer.retrieved.data(), answer.positions.data(), lengths.data()),
        ROSA_C_OK)
        << rosa_c_error();
    ASSERT_EQ(answer, expected_answer(all, 0, all.length));
    for (int64_t row = 0; row < all.batch * all.heads; ++row) {
      const auto oracle = oracle_matches(all.row_of(all.query, row), all.row_of(all.key, all.kv_row(row)));
      for (int64_t t = 0; t < all.length; ++t) ASSERT_EQ(lengths[row * all.length + t], oracle[t].length);
    }
  }
}

TEST(RosaCTest, MatchesStayInsideDocuments) {
  const Case all(2, 2, 1, 90, 2, 5);
  std::vector<int64_t> documents(2 * 90, 3);
  std::fill(documents.begin() + 40, documents.begin() + 90, 4);  // the first row: 40 and 50; the second: one
  Answer answer{std::vector<int32_t>(all.query.size()), Symbols(all.query.size())};
  ASSERT_EQ(rosa_match(2, 2, 1, 90, all.query.data(), all.key.data(), all.value.data(), documents.data(), 1,
                       answer.retrieved.data(), answer.positions.data(), nullptr),
            ROSA_C_OK);
  for (int64_t row = 0; row < 4; ++row) {
    const int64_t start = row < 2 ? 40 : 0;
    Symbols query = all.row_of(all.query, row), key = all.row_of(all.key, row / 2);
    query.erase(query.begin(), query.begin() + start);
    key.erase(key.begin(), key.begin() + start);
    const auto oracle = oracle_matches(query, key);
    for (int64_t t = start; t < 90; ++t) {
      const int32_t position = oracle[t - start].position;
      ASSERT_EQ(answer.positions[row * 90 + t], position < 0 ? -1 : position + start) << row << " " << t;
    }
  }
  std::swap(documents[0], documents[89]);
  EXPECT_EQ(rosa_match(2, 2, 1, 90, all.query.data(), all.key.data(), all.value.data(), documents.data(), 1,
                       answer.retrieved.data(), answer.positions.data(), nullptr),
            ROSA_C_BAD_ARGUMENT);
  EXPECT_NE(std::string(rosa_c_error()).find("documents fall"), std::string::npos) << rosa_c_error();
}

// Row 0 has 30 tokens of padding before it, row 1 none, and both lose a token in the middle: each is as it is alone.
TEST(RosaCTest, WhatIsNotThereIsLeftOut) {
  const Case all(2, 2, 2, 100, 2, 6);
  std::vector<uint8_t> present(200, 1);
  std::fill_n(present.begin(), 30, 0);
  present[60] = present[160] = 0;
  const Stream stream = created(2, 2, 2);
  Answer answer{std::vector<int32_t>(all.query.size()), Symbols(all.query.size())};
  ASSERT_EQ(rosa_stream_append(stream.get(), 100, all.query.data(), all.key.data(), all.value.data(), present.data(), 1,
                               answer.retrieved.data(), answer.positions.data()),
            ROSA_C_OK);
  for (int64_t row = 0; row < 4; ++row) {
    StreamingMatcher matcher;
    Symbols values;
    for (int64_t t = 0; t < 100; ++t) {
      const int64_t at = row * 100 + t;
      if (present[row / 2 * 100 + t] == 0) {
        ASSERT_EQ(answer.positions[at], -1);
        ASSERT_EQ(answer.retrieved[at], 0u);
        continue;
      }
      values.push_back(all.value[at]);
      const Match match = matcher.append(all.query[at], all.key[at]);
      ASSERT_EQ(answer.positions[at], match.position);
      ASSERT_EQ(answer.retrieved[at], match.position < 0 ? 0 : values[match.position + 1]);
    }
  }
  int64_t sizes[2];
  ASSERT_EQ(rosa_stream_sizes(stream.get(), sizes), ROSA_C_OK);
  EXPECT_EQ(sizes[0], 69);
  EXPECT_EQ(sizes[1], 99);
}

TEST(RosaCTest, RewoundCopiedSavedAndSelectedStreamsGoOnAsIfNothingHadBeen) {
  const Case all(3, 4, 2, 160, 3, 7), other(3, 4, 2, 160, 3, 8);
  const Stream stream = created(3, 4, 2);
  append(stream.get(), all, 0, 100);
  append(stream.get(), other, 100, 130);
  const std::vector<int64_t> counts(3, 30);
  ASSERT_EQ(rosa_stream_rewind(stream.get(), counts.data()), ROSA_C_OK);

  rosa_stream* raw = nullptr;
  ASSERT_EQ(rosa_stream_copy(stream.get(), &raw), ROSA_C_OK);
  const Stream copy(raw);
  size_t size = 0;
  ASSERT_EQ(rosa_stream_save(stream.get(), nullptr, 0, &size), ROSA_C_OK);
  std::vector<uint8_t> bytes(size + 1, 0xEE);
  ASSERT_EQ(rosa_stream_save(stream.get(), bytes.data(), size - 1, &size), ROSA_C_BAD_ARGUMENT);
  ASSERT_EQ(rosa_stream_save(stream.get(), bytes.data(), size, &size), ROSA_C_OK);
  EXPECT_EQ(bytes.back(), 0xEE);
  ASSERT_EQ(rosa_stream_load(bytes.data(), size, &raw), ROSA_C_OK) << rosa_c_error();
  const Stream loaded(raw);

  const Answer expected = expected_answer(all, 100, 160);
  EXPECT_EQ(append(stream.get(), all, 100, 160), expected);
  EXPECT_EQ(append(copy.get(), all, 100, 160), expected);
  EXPECT_EQ(append(loaded.get(), all, 100, 160), expected);

  // Rows 2 and 0 of the loaded state, each appended what row 2 and 0 are in `all`.
  ASSERT_EQ(rosa_stream_load(bytes.data(), size, &raw), ROSA_C_OK);
  const Stream again(raw);
  const std::vector<int64_t> rows{2, 0, 2, 2};
  ASSERT_EQ(rosa_stream_select(again.get(), rows.data(), 4, &raw), ROSA_C_OK);
  const Stream selected(raw);
  const auto pick = [&](const Symbols& from, int64_t heads) {
    const Symbols columns = all.columns(from, 100, 160);
    Symbols picked;
    for (const int64_t row : rows) {
      picked.insert(picked.end(), columns.begin() + row * heads * 60, columns.begin() + (row + 1) * heads * 60);
    }
    return picked;
  };
  const Symbols query = pick(all.query, 4), key = pick(all.key, 2), value = pick(all.value, 2);
  std::vector<int32_t> positions(query.size());
  ASSERT_EQ(rosa_stream_append(selected.get(), 60, query.data(), key.data(), value.data(), nullptr, 2, nullptr,
                               positions.data()),
            ROSA_C_OK);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t at = 0; at < 4 * 60; ++at) {
      ASSERT_EQ(positions[i * 240 + at], expected.positions[rows[i] * 240 + at]);
    }
  }
}

TEST(RosaCTest, RowsAreRewoundOnTheirOwn) {
  const Case all(2, 1, 1, 50, 1, 9);
  const Stream stream = created(2, 1, 1);
  append(stream.get(), all, 0, 50);
  const int64_t too_many[2] = {3, 51};
  EXPECT_EQ(rosa_stream_rewind(stream.get(), too_many), ROSA_C_BAD_ARGUMENT);
  const int64_t negative[2] = {-1, 0};
  EXPECT_EQ(rosa_stream_rewind(stream.get(), negative), ROSA_C_BAD_ARGUMENT);
  int64_t sizes[2];
  const int64_t counts[2] = {0, 50};
  ASSERT_EQ(rosa_stream_rewind(stream.get(), counts), ROSA_C_OK);
  ASSERT_EQ(rosa_stream_sizes(stream.get(), sizes), ROSA_C_OK);
  EXPECT_EQ(sizes[0], 50);
  EXPECT_EQ(sizes[1], 0);
}

TEST(RosaCTest, ManyThreadsAndManyStreamsGiveTheSame) {
  const Case all(4, 8, 8, 3000, 2, 10);
  const Answer expected = expected_answer(all, 0, 3000);
  std::vector<Answer> answers(4);
  std::vector<std::thread> threads;
  for (Answer& answer : answers) {
    threads.emplace_back([&] { answer = append(created(4, 8, 8).get(), all, 0, 3000, 4); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Answer& answer : answers) EXPECT_TRUE(answer == expected);
}

TEST(RosaCTest, BadArgumentsAreNamedAndChangeNothing) {
  rosa_stream* raw = nullptr;
  const auto refused = [](int32_t status, const std::string& words) {
    EXPECT_EQ(status, ROSA_C_BAD_ARGUMENT);
    EXPECT_NE(std::string(rosa_c_error()).find(words), std::string::npos) << rosa_c_error();
  };
  constexpr int64_t kHuge = int64_t{1} << 62;
  refused(rosa_stream_create(0, 1, 1, &raw), "at least one");
  refused(rosa_stream_create(1, -1, 1, &raw), "at least one");
  refused(rosa_stream_create(1, 3, 2, &raw), "divisor");
  refused(rosa_stream_create(kHuge, kHuge, 1, &raw), "sequences in all");
  refused(rosa_stream_create(1, 1, 1, nullptr), "stream is NULL");
  EXPECT_EQ(raw, nullptr);
  const Stream stream = created(1, 1, 1);
  const uint64_t symbol = 5;
  const auto append_one = [&](rosa_stream* to, int64_t count, const uint64_t* query, int32_t threads) {
    return rosa_stream_append(to, count, query, &symbol, &symbol, nullptr, threads, nullptr, nullptr);
  };
  refused(append_one(nullptr, 1, &symbol, 1), "stream is NULL");
  refused(append_one(stream.get(), 1, nullptr, 1), "query is NULL");
  refused(append_one(stream.get(), -1, &symbol, 1), "positions");
  refused(append_one(stream.get(), kHuge, &symbol, 1), "positions");
  refused(append_one(stream.get(), 1, &symbol, 0), "threads");
  refused(append_one(stream.get(), 1, &symbol, 1 << 30), "threads");
  refused(rosa_stream_rewind(stream.get(), nullptr), "counts is NULL");
  refused(rosa_stream_sizes(nullptr, nullptr), "stream is NULL");
  refused(rosa_stream_copy(stream.get(), nullptr), "copy is NULL");
  refused(rosa_stream_load(nullptr, 5, &raw), "bytes is NULL");
  size_t size = 0;
  refused(rosa_stream_save(nullptr, nullptr, 0, &size), "stream is NULL");
  const int64_t rows[2] = {0, 1};
  refused(rosa_stream_select(stream.get(), rows, 2, &raw), "got row 1");
  refused(rosa_stream_select(stream.get(), rows, 0, &raw), "rows");
  refused(rosa_match(1, 1, 1, kHuge, &symbol, &symbol, nullptr, nullptr, 1, nullptr, nullptr, nullptr), "positions");
  uint64_t retrieved = 0;
  refused(rosa_match(1, 1, 1, 1, &symbol, &symbol, nullptr, nullptr, 1, &retrieved, nullptr, nullptr), "value is NULL");
  EXPECT_EQ(raw, nullptr);
  int64_t held = -1;
  ASSERT_EQ(rosa_stream_sizes(stream.get(), &held), ROSA_C_OK);
  EXPECT_EQ(held, 0);
  rosa_stream_free(nullptr);
  EXPECT_EQ(rosa_c_version(), ROSA_C_VERSION);
}

// Cut off, garbled, with a checksum that fits: refused, or a stream that works.
TEST(RosaCTest, HostileBytesAreRefusedOrWork) {
  std::mt19937_64 random(11);
  const Case all(2, 2, 1, 30, 2, 12);
  const Stream stream = created(2, 2, 1);
  append(stream.get(), all, 0, 30);
  size_t size = 0;
  ASSERT_EQ(rosa_stream_save(stream.get(), nullptr, 0, &size), ROSA_C_OK);
  std::vector<uint8_t> bytes(size);
  ASSERT_EQ(rosa_stream_save(stream.get(), bytes.data(), size, &size), ROSA_C_OK);
  const auto seal = [](std::vector<uint8_t>& sealed) {
    if (sealed.size() < 8) return;
    const auto body = std::as_bytes(std::span(sealed)).first(sealed.size() - 8);
    const uint64_t sum = base::checksum(body);
    for (size_t i = 0; i < 8; ++i) sealed[sealed.size() - 8 + i] = static_cast<uint8_t>(sum >> (8 * i));
  };
  int num_refused = 0, num_taken = 0;
  const auto load = [&](const std::vector<uint8_t>& given) {
    rosa_stream* raw = nullptr;
    const int32_t status = rosa_stream_load(given.data(), given.size(), &raw);
    const Stream loaded(raw);
    if (status != ROSA_C_OK) {
      EXPECT_EQ(status, ROSA_C_BAD_BYTES) << rosa_c_error();
      EXPECT_EQ(raw, nullptr);
      ++num_refused;
      return;
    }
    ++num_taken;
    const Symbols symbols(1 << 10, 1);
    EXPECT_EQ(rosa_stream_append(loaded.get(), 1, symbols.data(), symbols.data(), symbols.data(), nullptr, 1, nullptr,
                                 nullptr),
              ROSA_C_OK)
        << rosa_c_error();
  };
  for (size_t cut = 0; cut < size; ++cut) {
    std::vector<uint8_t> part;
    part.reserve(size);  // not null where it is empty
    part.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    load(part);
    seal(part);
    load(part);
  }
  EXPECT_EQ(num_refused, 2 * static_cast<int>(size));
  for (int round = 0; round < 4000; ++round) {
    std::vector<uint8_t> garbled = bytes;
    // Mostly in the header, where the sizes are.
    const size_t at = random() % (random() % 2 == 0 ? 40 : size);
    garbled[at] = static_cast<uint8_t>(random());
    seal(garbled);
    load(garbled);
  }
  EXPECT_GT(num_taken, 100);
}

}  // namespace
}  // namespace rosa::c
