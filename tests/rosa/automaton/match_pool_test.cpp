#include "rosa/automaton/match_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <latch>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "tests/rosa/automaton/oracle.h"

namespace rosa::automaton {
namespace {

// A batch with its memory, stored as one byte a position.
struct Case {
  int64_t batch = 3, num_heads = 4, num_kv_heads = 2, length = 61;
  int num_bits = 2;
  std::vector<uint8_t> query, key, value, retrieved, matched, lengths;
  std::vector<int32_t> positions;

  explicit Case(uint64_t seed, int bits = 2) : num_bits(bits) {
    std::mt19937_64 random(seed);
    const auto fill = [&](std::vector<uint8_t>& symbols, int64_t rows) {
      symbols.resize(static_cast<size_t>(rows * length));
      for (uint8_t& symbol : symbols) symbol = static_cast<uint8_t>(symbol_of(random(), num_bits));
    };
    fill(query, batch * num_heads);
    fill(key, batch * num_kv_heads);
    fill(value, batch * num_kv_heads);
    retrieved.resize(query.size());
    matched.resize(query.size());
    lengths.resize(query.size());
    positions.resize(query.size());
  }

  MatchBatch work() {
    MatchBatch work;
    work.batch = batch;
    work.num_heads = num_heads;
    work.num_kv_heads = num_kv_heads;
    work.length = length;
    work.query = {query.data(), PositionStorage::bytes};
    work.key = {key.data(), PositionStorage::bytes};
    work.value = {value.data(), PositionStorage::bytes};
    work.retrieved = {retrieved.data(), PositionStorage::bytes};
    work.matched = {matched.data(), PositionStorage::bytes};
    work.positions = positions.data();
    work.lengths = lengths.data();
    return work;
  }

  int64_t kv_row(int64_t sequence) const {
    return sequence / num_heads * num_kv_heads + sequence % num_heads / (num_heads / num_kv_heads);
  }
  Symbols symbols(const std::vector<uint8_t>& rows, int64_t row) const {
    return {rows.begin() + row * length, rows.begin() + (row + 1) * length};
  }
  std::vector<Match> oracle(int64_t sequence) const {
    return oracle_matches(symbols(query, sequence), symbols(key, kv_row(sequence)));
  }

  void expect_right() const {
    for (int64_t sequence = 0; sequence < batch * num_heads; ++sequence) {
      const std::vector<Match> expected = oracle(sequence);
      for (int64_t t = 0; t < length; ++t) {
        const Match& match = expected[t];
        const int64_t at = sequence * length + t;
        ASSERT_EQ(positions[at], match.position);
        ASSERT_EQ(matched[at], match.length > 0);
        ASSERT_EQ(lengths[at], std::min(match.length, 255));
        ASSERT_EQ(retrieved[at], match.length > 0 ? value[kv_row(sequence) * length + match.position + 1] : 0);
      }
    }
  }
};

TEST(MatchPool, EverySequenceIsMatchedWhateverTheThreads) {
  for (const int num_threads : {1, 3}) {
    MatchPool pool(num_threads);
    std::vector<Case> cases;
    for (uint64_t seed = 0; seed < 8; ++seed) cases.emplace_back(seed);
    std::vector<MatchPool::Ticket> tickets;
    for (Case& one : cases) tickets.push_back(pool.submit(one.work()));
    for (const size_t i : {5, 0, 7, 1, 2, 6, 4, 3}) {
      pool.wait(tickets[i]);
      cases[i].expect_right();
    }
  }
}

TEST(MatchPool, OneBitRowsAreEightPositionsAByte) {
  Case bytes(1, /*bits=*/1);
  MatchPool pool(2);
  pool.wait(pool.submit(bytes.work()));
  bytes.expect_right();

  const auto row = static_cast<int64_t>(row_bytes(PositionStorage::bits, bytes.length));
  EXPECT_EQ(row, 8);
  const auto pack = [&](const std::vector<uint8_t>& symbols) {
    std::vector<uint8_t> packed(symbols.size() / bytes.length * row);
    for (size_t i = 0; i < symbols.size(); ++i) {
      const size_t t = i % bytes.length;
      packed[i / bytes.length * row + t / 8] |= static_cast<uint8_t>(symbols[i] << t % 8);
    }
    return packed;
  };
  const auto query = pack(bytes.query), key = pack(bytes.key), value = pack(bytes.value);
  std::vector<uint8_t> retrieved(query.size(), 0xff), matched(query.size(), 0xff);
  MatchBatch work = bytes.work();
  work.query = {query.data(), PositionStorage::bits};
  work.key = {key.data(), PositionStorage::bits};
  work.value = {value.data(), PositionStorage::bits};
  work.retrieved = {retrieved.data(), PositionStorage::bits};
  work.matched = {matched.data(), PositionStorage::bits};
  work.positions = nullptr;
  pool.wait(pool.submit(work));
  EXPECT_EQ(retrieved, pack(bytes.retrieved));
  EXPECT_EQ(matched, pack(bytes.matched));
}

TEST(MatchPool, LongMatchesCountAsTheMostAByteHolds) {
  Case constant(2);
  constant.batch = 1;
  constant.length = 300;
  for (auto* symbols : {&constant.query, &constant.key, &constant.value}) symbols->assign(4 * 300, 1);
  constant.retrieved.resize(4 * 300);
  constant.matched.resize(4 * 300);
  constant.lengths.resize(4 * 300);
  constant.positions.resize(4 * 300);
  MatchPool pool(1);
  MatchBatch work = constant.work();
  work.matched = {};
  pool.wait(pool.submit(work));
  EXPECT_EQ(constant.lengths[254], 254);
  EXPECT_EQ(constant.lengths[255], 255);
  EXPECT_EQ(constant.lengths[299], 255);
  EXPECT_EQ(constant.matched[299], 0);  // was not wanted
}

TEST(MatchPool, WorkersWaitForTheInputs) {
  Case late(2);
  const std::vector<uint8_t> query = late.query;
  late.query.assign(query.size(), 0);
  std::latch arrived(1);
  MatchPool pool(2);
  MatchBatch work = late.work();
  work.wait_for_inputs = [&] { arrived.wait(); };
  const auto ticket = pool.submit(std::move(work));  // returns although nothing can be matched yet
  std::copy(query.begin(), query.end(), late.query.begin());
  arrived.count_down();
  pool.wait(ticket);
  late.expect_right();
}

// The only worker is held; whoever waits does the work itself.
TEST(MatchPool, TheWaitingThreadHelps) {
  std::latch held(1), release(1);
  Case first(3), second(4);
  MatchPool pool(1);
  MatchBatch holding = first.work();
  holding.wait_for_inputs = [&] {
    held.count_down();
    release.wait();
  };
  const auto stuck = pool.submit(std::move(holding));
  held.wait();
  pool.wait(pool.submit(second.work()));
  second.expect_right();
  release.count_down();
  pool.wait(stuck);
  first.expect_right();
}

TEST(MatchPool, TheFirstExceptionSurfacesAndTheOwnerIsLetGo) {
  MatchPool pool(2);
  Case failing(5), fine(6);
  const auto owner = std::make_shared<int>(0);
  MatchBatch work = failing.work();
  work.owner = owner;
  work.wait_for_inputs = [] { throw std::runtime_error("the copy failed"); };
  const auto ticket = pool.submit(std::move(work));
  EXPECT_THROW(pool.wait(ticket), std::runtime_error);
  EXPECT_EQ(owner.use_count(), 1);

  std::vector<int64_t> documents(static_cast<size_t>(failing.batch * failing.length), 1);
  documents[failing.length + 10] = 0;
  work = failing.work();
  work.documents = documents.data();
  EXPECT_THROW(pool.wait(pool.submit(std::move(work))), base::ArgumentError);

  pool.wait(pool.submit(fine.work()));
  fine.expect_right();
  EXPECT_THROW(pool.wait(nullptr), base::ArgumentError);
}

TEST(MatchPool, ADroppedJobKeepsItsMemoryUntilItIsDone) {
  std::weak_ptr<Case> memory;
  {
    MatchPool pool(1);
    const auto dropped = std::make_shared<Case>(7);
    memory = dropped;
    MatchBatch work = dropped->work();
    work.owner = dropped;
    pool.submit(std::move(work));
  }
  EXPECT_TRUE(memory.expired());
}

TEST(MatchPool, StatisticsAreSummedByLayer) {
  Case first(8), second(9), other(10), uncounted(11);
  // The second query head's upper bit is dead, and the keys of its group are constant.
  for (int64_t sequence = 1; sequence < first.batch * first.num_heads; sequence += first.num_heads) {
    for (int64_t t = 0; t < first.length; ++t) first.query[sequence * first.length + t] &= 1;
  }
  MatchPool pool(3);
  const auto run = [&](Case& one, int64_t layer) {
    MatchBatch work = one.work();
    work.layer = layer;
    pool.wait(pool.submit(std::move(work)));
  };
  run(first, 4);
  const auto alone = pool.take_statistics();
  ASSERT_EQ(alone.size(), 1U);
  ASSERT_EQ(alone.at(4).heads.size(), 4U);
  EXPECT_EQ(alone.at(4).heads[0].query_ever_set, 3U);
  EXPECT_EQ(alone.at(4).heads[1].query_ever_set, 1U);
  EXPECT_EQ(alone.at(4).heads[1].query_always_set, 0U);
  EXPECT_EQ(alone.at(4).sums.query.bits_ever_set, 3U);

  run(first, 4);
  run(second, 4);
  run(other, 5);
  run(uncounted, -1);
  const auto layers = pool.take_statistics();
  ASSERT_EQ(layers.size(), 2U);
  int64_t num_matched = 0, total_length = 0;
  for (const Case* one : {&first, &second}) {
    for (int64_t sequence = 0; sequence < one->batch * one->num_heads; ++sequence) {
      for (const Match& match : one->oracle(sequence)) {
        num_matched += match.length > 0 ? 1 : 0;
        total_length += match.length;
      }
    }
  }
  const MatchStatistics& sums = layers.at(4).sums;
  EXPECT_EQ(sums.num_positions, 2 * 3 * 4 * 61);
  EXPECT_EQ(sums.num_matched, num_matched);
  EXPECT_EQ(sums.total_length, total_length);
  EXPECT_EQ(layers.at(5).sums.num_positions, 3 * 4 * 61);
  EXPECT_TRUE(pool.take_statistics().empty());
}

// Several threads submit, wait and help at once; for ThreadSanitizer.
TEST(MatchPool, ManyThreadsShareAPool) {
  MatchPool pool(2);
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < 3; ++number) {
    threads.emplace_back([&pool, number] {
      for (uint64_t round = 0; round < 10; ++round) {
        Case one(100 * number + round), two(100 * number + round + 50);
        const auto ticket = pool.submit(one.work());
        MatchBatch work = two.work();
        work.layer = static_cast<int64_t>(number);
        pool.wait(pool.submit(std::move(work)));
        pool.wait(ticket);
        one.expect_right();
        two.expect_right();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool.take_statistics().size(), 3U);
}

}  // namespace
}  // namespace rosa::automaton
