// What a plan says of work, wire and disk, and what would fit.
#include <gtest/gtest.h>

#include <filesystem>

#include "training/plan/run_plan.h"
#include "training/plan/wire.h"

namespace rosa::training {
namespace {

RunConfig small_config() {
  RunConfig config;
  config.adapter = models::plain_adapter_config();
  config.run.folder = "unused";
  config.model.folder = "unused";
  config.data.kind = DataKind::phrases;
  config.data.sequence_length = 64;
  config.train.micro_batches = 8;
  config.train.micro_batch_sequences = 3;
  config.train.num_steps = 1000;
  config.checkpoint.every = 300;
  return config;
}

// One bucket of a rank's slots: 8 ranks, 8 * 4096 elements.
constexpr double kBytes = 8 * 4096 * 4.0;
parallel::FlatLayout layout(int ranks) { return {{8 * 4096}, {0}, 1 << 20, ranks}; }

TEST(PlanWire, OfEachWayToSum) {
  const auto bytes = [](int ranks, int64_t hosts, const char* reduction, bool sharded, int64_t micro_batches) {
    const parallel::FlatLayout own = layout(ranks);
    parallel::ParallelConfig config;
    config.reduction = reduction;
    config.sharded_optimizer = sharded;
    return wire_bytes({.layout = own, .config = config, .micro_batches = micro_batches, .num_hosts = hosts});
  };
  EXPECT_EQ(bytes(1, 1, "deterministic", false, 8).by_rank, 0.0);
  // A subtree of its own for each rank: all but one part goes out, then as much around the ring.
  EXPECT_DOUBLE_EQ(bytes(4, 1, "deterministic", false, 8).by_rank, 2 * kBytes * 3 / 4);
  EXPECT_EQ(bytes(4, 1, "deterministic", false, 8).by_host, 0.0);
  // Three leaves of a rank are two subtrees.
  EXPECT_DOUBLE_EQ(bytes(2, 1, "deterministic", false, 6).by_rank, (2 + 1) * kBytes / 2);
  EXPECT_DOUBLE_EQ(bytes(4, 1, "fast", false, 8).by_rank, 2 * kBytes * 3 / 4);
  // The gradients' sums, and the weights.
  EXPECT_DOUBLE_EQ(bytes(4, 1, "fast", true, 8).by_rank, 2 * kBytes * 3 / 4);
  // Two ranks of a host send half of theirs to the other host; of the ring, one of them does.
  EXPECT_DOUBLE_EQ(bytes(4, 2, "deterministic", false, 8).by_host, 2 * kBytes / 2 + kBytes * 3 / 4);
}

TEST(PlanRun, CountsWhatAStepIs) {
  const RunConfig config = small_config();
  const models::ModelConfig model;
  const RunPlan plan = plan_run({.config = config, .model = model});
  EXPECT_EQ(plan.sequences_per_step, 24);
  EXPECT_EQ(plan.tokens_per_step, 24 * 64);
  EXPECT_EQ(static_cast<double>(plan.num_base), models::num_parameters(model));
  EXPECT_EQ(plan.num_trained, plan.num_adapter);
  EXPECT_EQ(plan.checkpoint_bytes, 3 * 4 * plan.num_adapter);
  EXPECT_EQ(plan.num_checkpoints, 3) << "two are kept, and the next is whole before the oldest goes";
  EXPECT_GT(plan.flops.total(), 0.0);
  EXPECT_GT(plan.memory.host_peak(), plan.memory.fullest_step().activations);
  EXPECT_EQ(plan.memory.device_peak(), 0);
}

TEST(PlanRun, TheLargestMicroBatchFitsAndOneMoreDoesNot) {
  RunConfig config = small_config();
  const models::ModelConfig model;
  const PlanInput input{.config = config, .model = model, .num_ranks = 4};
  const int64_t limit = int64_t{400} << 20;
  const int64_t largest = largest_micro_batch(input, models::ActivationCheckpointing::none, false, limit);
  ASSERT_GT(largest, 1);
  config.train.micro_batch_sequences = largest;
  EXPECT_LE(plan_run(input).memory.host_peak(), limit);
  config.train.micro_batch_sequences = largest + 1;
  EXPECT_GT(plan_run(input).memory.host_peak(), limit);
  EXPECT_GT(largest_micro_batch(input, models::ActivationCheckpointing::full, false, limit), largest);
  EXPECT_GE(largest_micro_batch(input, models::ActivationCheckpointing::none, true, limit), largest);
  EXPECT_EQ(largest_micro_batch(input, models::ActivationCheckpointing::full, true, int64_t{1} << 20), 0);
}

TEST(PlanRun, ShardingDividesTheMomentsOnly) {
  RunConfig config = small_config();
  const models::ModelConfig model;
  const PlanInput input{.config = config, .model = model, .num_ranks = 4};
  const MemoryKinds whole = plan_run(input).memory.loss;
  config.parallel.sharded_optimizer = true;
  const MemoryKinds sharded = plan_run(input).memory.loss;
  EXPECT_NEAR(static_cast<double>(sharded.optimizer), static_cast<double>(whole.optimizer) / 4,
              4096.0 * 8 * 16);  // a part has whole blocks
  EXPECT_EQ(sharded.gradients, whole.gradients);
}

TEST(PlanRun, WhatRanksOfAHostMapTheyShare) {
  RunConfig config = small_config();
  models::ModelConfig model;
  model.dtype = "float32";
  const PlanInput input{.config = config, .model = model, .num_ranks = 4};
  const MemoryPlan mapped = plan_run(input).memory;
  const auto bytes = static_cast<int64_t>(models::num_parameters(model)) * 4;
  EXPECT_EQ(mapped.fullest_step().mapped, bytes);
  EXPECT_EQ(mapped.fullest_step().base, 0);
  EXPECT_EQ(mapped.peak_of_ranks(1), mapped.host_peak());
  EXPECT_EQ(mapped.peak_of_ranks(4), 4 * mapped.host_peak() - 3 * bytes);
  model.dtype = "bfloat16";  // is not what the run computes in
  const MemoryPlan copied = plan_run(input).memory;
  EXPECT_EQ(copied.fullest_step().mapped, 0);
  EXPECT_EQ(copied.fullest_step().base, bytes);
  EXPECT_EQ(copied.peak_of_ranks(4), 4 * copied.host_peak());
  model.dtype = "float32";
  config.train.trainable = {"*"};
  config.optimizer.rate_patterns.clear();
  config.optimizer.rate_factors.clear();
  EXPECT_EQ(plan_run({.config = config, .objective = Objective::pretrain, .model = model}).memory.loading.mapped, 0);
}

TEST(PlanRun, OnAGpuTheHostKeepsWhatTheAutomataNeed) {
  const RunConfig config = small_config();
  const models::ModelConfig model;
  const MemoryPlan host = plan_run({.config = config, .model = model}).memory;
  const MemoryPlan gpu = plan_run({.config = config, .model = model, .on_gpu = true}).memory;
  EXPECT_EQ(host.fullest_step().staging, 0);
  EXPECT_GT(gpu.fullest_step().staging, 0);
  EXPECT_GE(gpu.device_peak(), gpu.fullest_step().activations + gpu.fullest_step().base);
}

}  // namespace
}  // namespace rosa::training
