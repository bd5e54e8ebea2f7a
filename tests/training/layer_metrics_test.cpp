#include "training/layer_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"

namespace rosa::training {
namespace {

using automaton::LayerStatistics;
using automaton::MatchBatch;
using automaton::MatchPool;
using automaton::PositionStorage;
using ::testing::HasSubstr;

constexpr int64_t kHeads = 2, kLength = 40;

// The statistics of one sequence of two heads with these symbols, which are query, key and value.
std::map<int64_t, LayerStatistics> statistics_of(const std::function<uint8_t(int64_t head, int64_t t)>& symbol) {
  std::vector<uint8_t> symbols(kHeads * kLength), retrieved(symbols.size()), matched(symbols.size());
  for (int64_t i = 0; i < kHeads * kLength; ++i) symbols[i] = symbol(i / kLength, i % kLength);
  MatchBatch batch;
  batch.batch = 1;
  batch.num_heads = batch.num_kv_heads = kHeads;
  batch.length = kLength;
  batch.query = batch.key = batch.value = {symbols.data(), PositionStorage::bytes};
  batch.retrieved = {retrieved.data(), PositionStorage::bytes};
  batch.matched = {matched.data(), PositionStorage::bytes};
  batch.layer = 3;
  MatchPool pool(1);
  pool.wait(pool.submit(batch));
  return pool.take_statistics();
}

LayerMetrics metrics_of(const std::map<int64_t, LayerStatistics>& statistics, int64_t num_bits,
                        const models::GateStatistics& gates = {}) {
  const auto communicator = parallel::make_single_communicator();
  const auto layers = reduce_layer_statistics(statistics, gates, num_bits, *communicator);
  EXPECT_EQ(layers.size(), 1U);
  return layers.front();
}

TEST(LayerMetrics, OfAPeriodAreItsMatchesAndBits) {
  // 0 1 2 3 0 1 2 3 ...: from position 4 on every position matches all of the sequence so far but one period.
  const LayerMetrics metrics = metrics_of(statistics_of([](int64_t, int64_t t) { return t % 4; }), /*num_bits=*/3);
  EXPECT_EQ(metrics.layer, 3);
  EXPECT_DOUBLE_EQ(metrics.matched_share, 36.0 / 40);
  EXPECT_DOUBLE_EQ(metrics.mean_match_length, 37.0 / 2);  // of 1 ... 36
  EXPECT_EQ(metrics.max_match_length, 36);
  EXPECT_EQ(metrics.match_lengths, (std::vector<int64_t>{8, 2, 4, 8, 16, 32, 10}));
  EXPECT_DOUBLE_EQ(metrics.query_entropy, 2);
  EXPECT_DOUBLE_EQ(metrics.dead_query_bits, 1.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.constant_key_bits, 1.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.agreement, 1);
  EXPECT_FALSE(metrics.has_collapsed());
}

TEST(LayerMetrics, HeadsThatAreEachConstantHaveCollapsed) {
  // Together the heads show two symbols; each shows one.
  const LayerMetrics metrics = metrics_of(statistics_of([](int64_t head, int64_t) { return head == 0 ? 1 : 2; }), 2);
  EXPECT_DOUBLE_EQ(metrics.query_entropy, 1);
  EXPECT_DOUBLE_EQ(metrics.constant_query_bits, 1);
  EXPECT_DOUBLE_EQ(metrics.dead_query_bits, 0.5);
  EXPECT_TRUE(metrics.has_collapsed());

  CollapseWarning warning;
  const auto first = warning.check({metrics}, 7);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_THAT(first.front(), HasSubstr("layer 3 has collapsed (step 7)"));
  EXPECT_TRUE(warning.check({metrics}, 8).empty());
  EXPECT_THAT(layer_table({metrics}), HasSubstr("COLLAPSED"));
}

TEST(LayerMetrics, OverRanksAreThoseOfAllTogether) {
  const auto symbol = [](int rank) {
    return [rank](int64_t head, int64_t t) {
      return static_cast<uint8_t>(t * (rank + 2 + head) / 3 % (rank == 0 ? 3 : 7));
    };
  };
  std::map<int64_t, LayerStatistics> all = statistics_of(symbol(0));
  all.at(3).merge(statistics_of(symbol(1)).at(3));
  const auto gates_of = [](int rank) {
    models::GateStatistics gates;
    gates[3].add(rank == 0 ? at::tensor({0.05, 1.5}, at::kFloat) : at::tensor({2.0, 1.0, 0.0}, at::kFloat));
    return gates;
  };
  models::GateStatistics all_gates = gates_of(0);
  all_gates[3].add(at::tensor({2.0, 1.0, 0.0}, at::kFloat));
  const LayerMetrics expected = metrics_of(all, 4, all_gates);
  EXPECT_NEAR(expected.gate_mean, 4.55 / 5, 1e-5);
  EXPECT_DOUBLE_EQ(expected.closed_gates, 0.4);
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    const auto layers = reduce_layer_statistics(statistics_of(symbol(communicator.rank())),
                                                gates_of(communicator.rank()), 4, communicator);
    ASSERT_EQ(layers.size(), 1U);
    EXPECT_EQ(to_json(layers.front()), to_json(expected));
    EXPECT_TRUE(reduce_layer_statistics({}, {}, 4, communicator).empty());
  });
}

TEST(LayerMetrics, AreReadBackFromTheLastLineThatHasThem) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  const LayerMetrics metrics = metrics_of(statistics_of([](int64_t, int64_t t) { return t % 4; }), 3);
  std::ofstream file(path);
  nlohmann::ordered_json older = {{"kind", "step"}, {"layers", {to_json(LayerMetrics{})}}};
  nlohmann::ordered_json newer = {{"kind", "step"}, {"layers", {to_json(metrics)}}};
  file << older.dump() << "\n" << newer.dump() << "\n{\"kind\":\"evaluation\"}\n{\"kind\":\"st";
  file.close();
  const auto layers = last_layer_metrics(path);
  ASSERT_EQ(layers.size(), 1U);
  EXPECT_EQ(to_json(layers.front()), to_json(metrics));
  EXPECT_TRUE(last_layer_metrics(folder / "none.jsonl").empty());
}

}  // namespace
}  // namespace rosa::training
