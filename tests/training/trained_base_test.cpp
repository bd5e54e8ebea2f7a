// Weights of the base model that are trained beside the adapters.
#include "training/trained_base.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "models/export.h"
#include "models/safetensors_weights.h"
#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint.h"
#include "training/run_objects.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

constexpr const char* kTrained = "model.layers.1.mlp.down_proj.weight";

class TrainedBase : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  RunConfig config(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.micro_batches = 4;
    config.train.trainable_base = {"*.1.mlp.down_proj.weight", "*norm.weight"};
    return config;
  }
  static std::map<std::string, at::Tensor> base_of(const Recorder& recorder, const RunConfig& config) {
    const Checkpoint checkpoint(recorder.last_checkpoint);
    std::map<std::string, at::Tensor> weights;
    const models::CausalModel model = models::CausalModel::load(config.model.folder);
    for (const std::string& name : trained_base_names(config.train, model.config())) {
      weights[name] = at::empty_like(model.parameters().at(name));
    }
    WeightState state(weights);
    checkpoint.load({{kBaseState, &state}});
    return weights;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(TrainedBase, WhatIsNamedIsTrainedAndTheTeacherStays) {
  const RunConfig config = this->config();
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  const models::CausalModel before = models::CausalModel::load(config.model.folder);
  Trainer trainer(config, objects.parts(*single));
  for (int64_t step = 0; step < 3; ++step) trainer.step(step);
  for (const auto& [name, weight] : objects.model->parameters()) {
    const bool is_trained = name == kTrained || name.ends_with("norm.weight");
    EXPECT_EQ(weight.requires_grad(), is_trained) << name;
    EXPECT_EQ(weight.equal(before.parameters().at(name)), !is_trained) << name;
    EXPECT_TRUE(objects.own_teacher->parameters().at(name).equal(before.parameters().at(name))) << name;
  }
  // What is frozen is there once.
  const std::string frozen = "model.layers.0.mlp.down_proj.weight";
  EXPECT_EQ(objects.own_teacher->parameters().at(frozen).const_data_ptr(),
            objects.model->parameters().at(frozen).const_data_ptr());
}

TEST_F(TrainedBase, StoppedOrOnMoreRanksTheBitsAreTheSame) {
  Recorder whole, parts;
  ASSERT_EQ(train(config("whole"), whole), RunOutcome::finished);
  ASSERT_LT(whole.losses.at(5), whole.losses.at(0));
  ASSERT_EQ(train(config("parts"), parts, 3), RunOutcome::stopped);
  ASSERT_EQ(train(config("parts"), parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses, whole.losses);
  EXPECT_EQ(parts.evaluations, whole.evaluations);
  Recorder two;
  train_on_two_ranks(config("two"), two);
  EXPECT_EQ(two.losses, whole.losses);
  const auto expected = base_of(whole, config("whole"));
  for (const Recorder* recorder : {&parts, &two}) {
    for (const auto& [name, weight] : base_of(*recorder, config()))
      EXPECT_TRUE(weight.equal(expected.at(name))) << name;
  }
}

TEST_F(TrainedBase, ATrainedRunIsScoredAndExportedWithThem) {
  RunConfig config = this->config();
  Recorder recorder;
  ASSERT_EQ(train(config, recorder), RunOutcome::finished);
  const auto single = parallel::make_single_communicator();
  RunObjects objects = build_run(config, Objective::distill, *single, {.training = false});
  load_trained_weights(config, objects);
  const Scores scores = evaluate_variants(config, objects.parts(*single), {"teacher", "rosa"});
  EXPECT_DOUBLE_EQ(scores.at("rosa").ce(), recorder.evaluations.at(6));
  std::filesystem::create_directory(folder_ / "exported");
  models::export_student(*objects.model, *objects.adapters,
                         {.sliding_window = 6, .dtype = "float32", .base_folder = {}}, folder_ / "exported");
  const auto exported = models::read_tensors(folder_ / "exported" / "model.safetensors");
  EXPECT_TRUE(exported.at(kTrained).equal(base_of(recorder, config).at(kTrained)));
  // Adapters alone are half of it.
  config.checkpoint.resume = recorder.last_checkpoint / "adapter.safetensors";
  EXPECT_THROW(load_trained_weights(config, objects), base::ConfigError);
  config.checkpoint.resume = "auto";
  config.train.trainable_base.clear();
  RunObjects frozen = build_run(config, Objective::distill, *single, {.training = false});
  EXPECT_THROW(load_trained_weights(config, frozen), base::CheckpointError);
}

TEST_F(TrainedBase, MastersOfANarrowBaseAreFloat32) {
  RunConfig config = this->config();
  config.model.compute_dtype = "bfloat16";
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  EXPECT_EQ(objects.model->parameters().at(kTrained).scalar_type(), at::kFloat);
  EXPECT_EQ(objects.own_teacher->parameters().at(kTrained).scalar_type(), at::kBFloat16);
  EXPECT_EQ(objects.model->parameters().at("model.layers.0.mlp.down_proj.weight").scalar_type(), at::kBFloat16);
  // Steps too small for bfloat16 add up.
  config.schedules.learning_rate.start = 1e-5;
  Recorder recorder;
  ASSERT_EQ(train(config, recorder, 3), RunOutcome::stopped);
  const at::Tensor now = base_of(recorder, config).at(kTrained);
  const at::Tensor before = models::CausalModel::load(config.model.folder, "bfloat16").parameters().at(kTrained);
  EXPECT_FALSE(now.equal(before.to(at::kFloat)));
  EXPECT_LT((now - before.to(at::kFloat)).abs().max().item<float>(), 1e-4);
  ASSERT_EQ(train(config, recorder), RunOutcome::finished);
  RunObjects trained = build_run(config, Objective::distill, *single, {.training = false});
  load_trained_weights(config, trained);
  EXPECT_EQ(trained.model->parameters().at(kTrained).scalar_type(), at::kBFloat16);
}

TEST_F(TrainedBase, PatternsAreCheckedAndActivationsRecomputed) {
  RunConfig config = this->config();
  config.train.trainable_base = {"*.nothing.*"};
  try {
    check_before_training(config, Objective::distill, 1);
    FAIL() << "accepted";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("train.trainable_base: '*.nothing.*' matches no weight"));
  }
  Recorder kept, recomputed;
  ASSERT_EQ(train(this->config("kept"), kept), RunOutcome::finished);
  config = this->config("recomputed");
  config.train.activation_checkpointing = models::ActivationCheckpointing::full;
  ASSERT_EQ(train(config, recomputed), RunOutcome::finished);
  EXPECT_EQ(kept.losses, recomputed.losses);
}

}  // namespace
}  // namespace rosa::training
