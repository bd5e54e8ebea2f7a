// Losses on codes and gradient dropout in a run.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/run_objects.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

class CodeTrainingTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  RunConfig config(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.micro_batches = 4;
    config.train.micro_batch_sequences = 2;
    config.schedules.alpha = {.start = 1.0};
    config.evaluation.every = 0;
    return config;
  }

  testing::TemporaryFolder folder_;
};

// Nothing else gives these queries a gradient: its norm is that of the whole batch's loss.
TEST_F(CodeTrainingTest, TheWeightIsOfTheMeanOverLayersAndMicroBatches) {
  RunConfig config = this->config();
  config.adapter.estimator = "none";
  config.adapter.place = models::AdapterPlace::attention;
  config.adapter.mixed_queries = false;
  config.train.trainable = {"*.q_proj.*"};
  config.loss.code_balance = 3.0;
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  const RunParts parts = objects.parts(*single);
  Trainer trainer(config, parts);
  const auto soft_mean = [](const at::Tensor& rows) {  // of [B,T,heads*bits]
    return (2 * at::sigmoid(rows) - 1).mean({0, 1}).square().mean();
  };
  const std::vector<int64_t> layers = parts.adapters->config().layers;
  at::Tensor expected = at::zeros({});
  for (int64_t i = 0; i < 4; ++i) {
    models::ForwardOptions options = student_options(config, parts.model, parts.adapters, parts.executor);
    options.watch_adapter_inputs = [&](int64_t layer, const at::Tensor& normed, const at::Tensor&) {
      for (const char* name : {"q_proj.weight", "k_proj.weight", "v_proj.weight"}) {
        expected = expected + soft_mean(at::linear(normed, parts.adapters->weight(layer, name))) /
                                  static_cast<double>(3 * layers.size() * 4);
      }
    };
    parts.model.hidden_states(objects.training_data->batch(0, i * 2, 2).input_ids, options);
  }
  std::vector<at::Tensor> queries;
  for (const int64_t layer : layers) queries.push_back(parts.adapters->weight(layer, "q_proj.weight"));
  double norm = 0.0;
  for (const at::Tensor& gradient : torch::autograd::grad({3.0 * expected}, queries)) {
    norm += gradient.square().sum().item<double>();
  }
  const StepMetrics metrics = trainer.step(0);
  EXPECT_NEAR(*metrics.code_balance, expected.item<double>(), 1e-6);
  EXPECT_NEAR(metrics.gradient_norm, std::sqrt(norm), 1e-5 * std::sqrt(norm));
  EXPECT_NEAR(metrics.loss, 0.5 * metrics.kl + 0.5 * metrics.ce + 3.0 * *metrics.code_balance, 1e-12);
  EXPECT_FALSE(metrics.code_consistency.has_value());
}

TEST_F(CodeTrainingTest, TheLossesFall) {
  const auto falls = [&](double LossConfig::*weight, std::optional<double> StepMetrics::*value) {
    RunConfig config = this->config();
    config.loss.*weight = 10.0;
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config, Objective::distill, *single);
    Trainer trainer(config, objects.parts(*single));
    const double first = *(trainer.step(0).*value);
    for (int i = 0; i < 8; ++i) trainer.step(0);
    return *(trainer.step(0).*value) < 0.8 * first;
  };
  EXPECT_TRUE(falls(&LossConfig::code_balance, &StepMetrics::code_balance));
  EXPECT_TRUE(falls(&LossConfig::code_consistency, &StepMetrics::code_consistency));
}

TEST_F(CodeTrainingTest, StoppedRecomputedOrOnMoreRanksTheBitsAreTheSame) {
  const auto with_all = [&](const char* name, models::DropoutUnit unit = models::DropoutUnit::head) {
    RunConfig config = this->config(name);
    config.loss.code_balance = 2.0;
    config.loss.code_consistency = 0.5;
    config.adapter.gradient_dropout = {0.5, unit};
    return config;
  };
  Recorder whole, parts, two, recomputed, plain, by_position;
  ASSERT_EQ(train(with_all("whole"), whole), RunOutcome::finished);
  ASSERT_EQ(train(with_all("parts"), parts, 3), RunOutcome::stopped);
  ASSERT_EQ(train(with_all("parts"), parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses, whole.losses);
  train_on_two_ranks(with_all("two"), two);
  EXPECT_EQ(two.losses, whole.losses);
  RunConfig checkpointed = with_all("checkpointed");
  checkpointed.train.activation_checkpointing = models::ActivationCheckpointing::full;
  ASSERT_EQ(train(checkpointed, recomputed), RunOutcome::finished);
  EXPECT_EQ(recomputed.losses, whole.losses);
  // The dropout has its part in this, and so has its unit.
  RunConfig without = with_all("without");
  without.adapter.gradient_dropout.share = 0.0;
  ASSERT_EQ(train(without, plain), RunOutcome::finished);
  ASSERT_EQ(train(with_all("by_position", models::DropoutUnit::position), by_position), RunOutcome::finished);
  EXPECT_NE(plain.losses, whole.losses);
  EXPECT_NE(by_position.losses, whole.losses);
}

// With the alignment's forward beside it: the losses on codes are those of the student's own.
TEST_F(CodeTrainingTest, AFedForwardDoesNotCountThemAgain) {
  RunConfig config = this->config();
  config.loss.code_balance = 2.0;
  std::vector<StepMetrics> metrics;
  for (const double alignment : {0.0, 1.0}) {
    config.loss.alignment = alignment;
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config, Objective::distill, *single);
    metrics.push_back(Trainer(config, objects.parts(*single)).step(0));
  }
  EXPECT_DOUBLE_EQ(*metrics[1].code_balance, *metrics[0].code_balance);
}

TEST_F(CodeTrainingTest, WhatDoesNotFitIsRefused) {
  RunConfig config = this->config();
  config.loss.code_balance = config.loss.code_consistency = 1.0;
  config.adapter.gradient_dropout.share = 0.5;
  EXPECT_EQ(problems_of(config), "");
  config.adapter.query_key_gradient = false;
  EXPECT_THAT(problems_of(config), HasSubstr("gradient_dropout: is 0.5, but queries and keys get no gradient"));
  EXPECT_THAT(problems_of(config), HasSubstr("loss.code_balance: is for queries and keys that learn"));
  config.adapter.query_key_gradient = true;
  config.adapter.estimator = "none";
  EXPECT_THAT(problems_of(config), HasSubstr("adapter.estimator is none"));
  config.adapter.gradient_dropout.share = 0.0;
  EXPECT_EQ(problems_of(config), "") << "the losses alone can teach them";
  RunConfig pretraining = this->config();
  pretraining.loss.distill_alpha = 0.0;
  pretraining.train.trainable = {"*"};
  EXPECT_EQ(problems_of(pretraining, Objective::pretrain), "");
  pretraining.loss.code_consistency = 1.0;
  EXPECT_THAT(problems_of(pretraining, Objective::pretrain), HasSubstr("pretraining has none"));
}

}  // namespace
}  // namespace rosa::training
