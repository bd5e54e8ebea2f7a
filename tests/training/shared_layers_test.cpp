// Weights of the base that the ranks share out (parallel.shard_base): the bits of a run, what a rank keeps, how a layer
// is fetched ahead, and how a group ends of which one rank is gone.
#include "training/shared_layers.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shared_layers_checks.h"
#include "small_run.h"
#include "tests/support/temporary_folder.h"
#include "training/plan/wire.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

class SharedLayersTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  testing::TemporaryFolder folder_;
};

TEST_F(SharedLayersTest, ARunHasTheSameBitsOnAnyNumberOfRanks) {
  int number = 0;
  for (const SharedRun& of : shared_runs()) {
    SCOPED_TRACE(of.name);
    Outcome one;
    train_shared(of.config(folder_ / concat("one", ++number)), *parallel::make_single_communicator(), one);
    ASSERT_EQ(one.losses.size(), 4U);
    ASSERT_EQ(one.evaluations.size(), 2U);
    EXPECT_FALSE(one.last.base_part_bytes.has_value());
    for (const int num_ranks : {1, 2, 3}) {
      SCOPED_TRACE(num_ranks);
      RunConfig config = of.config(folder_ / concat("run", number, "_", num_ranks));
      config.parallel.shard_base = num_ranks == 2 ? "node" : "all";  // threads are ranks of one host
      Outcome shared;
      parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
        Outcome other;
        train_shared(config, communicator, communicator.rank() == 0 ? shared : other);
      });
      expect_shared_run(of, config, num_ranks, one, shared);
    }
  }
}

// Weights of three layers; each element tells where it belongs.
models::CausalModel counting_model() {
  models::CausalModel model = models::CausalModel::load(std::filesystem::path(ROSA_TEST_DATA) / "goldens/qwen3_tied");
  for (auto& [name, weight] : model.parameters()) weight = at::randn(weight.sizes());
  return model;
}

std::map<std::string, at::Tensor> copies(const models::CausalModel& model) {
  std::map<std::string, at::Tensor> all;
  for (const auto& [name, weight] : model.parameters()) all.emplace(name, weight.clone());
  return all;
}

void expect_whole(SharedLayers& shared, const std::map<std::string, at::Tensor>& weights, int64_t layer) {
  for (size_t i = 0; i < models::kNumProjections; ++i) {
    const std::string name = base::concat("model.layers.", layer, ".", models::kProjectionNames[i], ".weight");
    EXPECT_TRUE(at::equal(shared.weight(layer, static_cast<models::Projection>(i)), weights.at(name))) << name;
  }
}

TEST_F(SharedLayersTest, GivesLayersInAnyOrderAndFetchesAheadWhatTheStepBeforeAskedFor) {
  const models::CausalModel original = counting_model();
  const auto weights = copies(original);
  const int64_t last = original.config().num_hidden_layers - 1;
  ASSERT_GE(last, 1);
  parallel::run_on_thread_ranks(3, [&](parallel::Communicator& communicator) {
    models::CausalModel model(original.config(), original.parameters());
    const auto shared = share_layers(model, communicator, "all", "base model", at::kCPU);
    EXPECT_TRUE(model.parameters().at("model.layers.0.mlp.up_proj.weight").is_meta());
    EXPECT_FALSE(model.parameters().at("model.norm.weight").is_meta());
    const int64_t layer_bytes = num_projection_weights(model.config()) / (last + 1) * 4;
    EXPECT_NEAR(static_cast<double>(shared->held_bytes()),
                static_cast<double>(layer_bytes * (last + 1) / 3 + 2 * layer_bytes),
                static_cast<double>(4 * (last + 1)));
    for (const int64_t layer : {last, int64_t{0}, last, last, int64_t{0}}) expect_whole(*shared, weights, layer);
    int64_t received = 0;
    for (int step = 0; step < 4; ++step) {
      shared->begin_step();
      for (int64_t layer = 0; layer <= last; ++layer) expect_whole(*shared, weights, layer);
      for (int64_t layer = 0; layer <= last; ++layer) expect_whole(*shared, weights, layer);
      for (int64_t layer = last; layer >= 0; --layer) expect_whole(*shared, weights, layer);
      shared->end_step();
      received = shared->received_bytes();
    }
    // Nothing is fetched in vain: twice forward and once backward, without the two layers that each turn finds there.
    const int64_t elements = layer_bytes / 4, rank = communicator.rank();
    const int64_t own = elements * (rank + 1) / 3 - elements * rank / 3;
    EXPECT_EQ(received, (3 * (last + 1) - 4) * (elements - own) * 4);
  });
}

TEST_F(SharedLayersTest, ARankThatDiesInAGatherEndsAllWithItsMessage) {
  const models::CausalModel original = counting_model();
  try {
    parallel::run_on_thread_ranks(3, [&](parallel::Communicator& communicator) {
      models::CausalModel model(original.config(), original.parameters());
      const auto shared = share_layers(model, communicator, "all", "base model", at::kCPU);
      if (communicator.rank() == 1) throw base::DataError("rank 1 is gone");
      shared->weight(0, models::Projection::up);
      ADD_FAILURE() << "a layer was whole without rank 1";
    });
    FAIL() << "expected the error of rank 1";
  } catch (const base::DataError& error) {
    EXPECT_STREQ(error.what(), "rank 1 is gone");
  }
}

TEST_F(SharedLayersTest, ARankThatDoesNotComeIsNamedWithTheGroup) {
  const models::CausalModel original = counting_model();
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    communicator.set_timeout(0.5);
    models::CausalModel model(original.config(), original.parameters());
    const auto shared = share_layers(model, communicator, "node", "base model", at::kCPU);
    if (communicator.rank() == 0) {
      try {
        shared->weight(0, models::Projection::up);
        ADD_FAILURE() << "a layer was whole without rank 1";
      } catch (const base::CommunicationError& error) {
        EXPECT_THAT(error.what(),
                    HasSubstr("all_gather (collective 1) on rank 0 (0 of 2 in group base model at rank 0)"));
        EXPECT_THAT(error.what(), HasSubstr("it still waits for rank 1"));
      }
    }
    communicator.set_timeout(600);
    communicator.barrier();
  });
}

TEST_F(SharedLayersTest, WhatDoesNotGoTogetherIsRefusedByName) {
  RunConfig config = shared_runs().front().config(folder_ / "run");
  config.parallel.shard_base = "all";
  EXPECT_EQ(problems_of(config), "");
  const auto problem = [&](const auto& change) {
    RunConfig changed = config;
    change(changed);
    return problems_of(changed);
  };
  EXPECT_THAT(problem([](RunConfig& c) { c.train.trainable_base = {"model.norm.weight"}; }),
              HasSubstr("take lora.rank in the place of train.trainable_base"));
  EXPECT_THAT(problem([](RunConfig& c) { c.evaluation.samples = 2; }), HasSubstr("run rosa generate on a checkpoint"));
  EXPECT_THAT(problem([](RunConfig& c) { c.evaluation.suite = "quick"; }),
              HasSubstr("run rosa eval --suite on a checkpoint"));
  EXPECT_THAT(problems_of(config, Objective::pretrain), HasSubstr("only frozen weights are shared out"));
}

}  // namespace
}  // namespace rosa::training
