// The low-rank adaptation of the base model in a run.
#include "training/lora.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/export.h"
#include "models/generator.h"
#include "models/safetensors_weights.h"
#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint.h"
#include "training/run_objects.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

class Lora : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  RunConfig config(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.micro_batches = 4;
    config.lora = {.rank = 2, .alpha = 4.0, .patterns = {"*.1.self_attn.q_proj.weight", "*.mlp.down_proj.weight"}};
    return config;
  }
  static base::StateDict pairs_of(const Recorder& recorder) {
    return Checkpoint(recorder.last_checkpoint).state(kLoraState);
  }
  testing::TemporaryFolder folder_;
  std::unique_ptr<parallel::Communicator> single_ = parallel::make_single_communicator();
};

TEST_F(Lora, TheStudentStartsAsItWasAndNothingElseChanges) {
  const RunConfig config = this->config();
  RunConfig without = config;
  without.lora.rank = 0;
  const RunObjects objects = build_run(config, Objective::distill, *single_);
  const RunObjects plain = build_run(without, Objective::distill, *single_);
  const auto scores = [&](const RunObjects& of) {
    std::map<std::string, double> values;
    for (const auto& [name, score] :
         evaluate_variants(config, of.parts(*single_), {"teacher", "window", "rosa", "rosa_zeroed"})) {
      values[name] = score.ce();
    }
    return values;
  };
  Trainer trainer(config, objects.parts(*single_));
  std::map<std::string, double> expected = scores(plain);
  EXPECT_EQ(scores(objects), expected);
  const std::map<std::string, at::Tensor> pairs = lora_weights(objects.adapters.get());
  ASSERT_EQ(pairs.size(), 8U);  // of one query and three down projections
  std::map<std::string, at::Tensor> start;
  for (const auto& [name, tensor] : pairs) start[name] = tensor.detach().clone();
  for (int64_t step = 0; step < 3; ++step) trainer.step(step);
  for (const auto& [name, tensor] : pairs) EXPECT_FALSE(tensor.equal(start.at(name))) << name;
  const std::map<std::string, double> after = scores(objects);
  for (const char* variant : {"teacher", "window"}) EXPECT_EQ(after.at(variant), expected.at(variant)) << variant;
  for (const char* variant : {"rosa", "rosa_zeroed"}) EXPECT_NE(after.at(variant), expected.at(variant)) << variant;
  // The frozen base is there once, and as it was.
  EXPECT_EQ(objects.own_teacher, nullptr);
  for (const auto& [name, weight] : objects.model->parameters()) {
    EXPECT_FALSE(weight.requires_grad()) << name;
    EXPECT_TRUE(weight.equal(plain.model->parameters().at(name))) << name;
  }
}

TEST_F(Lora, StoppedOrOnMoreRanksOrRecomputedTheBitsAreTheSame) {
  Recorder whole, parts, two, recomputed;
  ASSERT_EQ(train(config("whole"), whole), RunOutcome::finished);
  ASSERT_LT(whole.losses.at(5), whole.losses.at(0));
  ASSERT_EQ(train(config("parts"), parts, 3), RunOutcome::stopped);
  ASSERT_EQ(train(config("parts"), parts), RunOutcome::finished);
  train_on_two_ranks(config("two"), two);
  RunConfig again = config("recomputed");
  again.train.activation_checkpointing = models::ActivationCheckpointing::full;
  ASSERT_EQ(train(again, recomputed), RunOutcome::finished);
  const base::StateDict expected = pairs_of(whole);
  ASSERT_EQ(expected.tensors.size(), 8U);
  for (const Recorder* recorder : {&parts, &two, &recomputed}) {
    EXPECT_EQ(recorder->losses, whole.losses);
    EXPECT_EQ(recorder->evaluations, whole.evaluations);
    const base::StateDict pairs = pairs_of(*recorder);
    for (const auto& [name, tensor] : expected.tensors) EXPECT_EQ(pairs.tensors.at(name).bytes, tensor.bytes) << name;
  }
}

TEST_F(Lora, ATrainedRunIsScoredExportedAndContinuedWithIt) {
  RunConfig config = this->config();
  config.schedules.learning_rate.start = 3e-2;
  Recorder recorder;
  ASSERT_EQ(train(config, recorder), RunOutcome::finished);
  RunObjects objects = build_run(config, Objective::distill, *single_, {.training = false});
  load_trained_weights(config, objects);
  const RunParts own = objects.parts(*single_);
  EXPECT_DOUBLE_EQ(evaluate_variants(config, own, {"rosa"}).at("rosa").ce(), recorder.evaluations.at(6));

  // The exported weights are a model that needs no pairs.
  std::filesystem::create_directory(folder_ / "exported");
  models::export_student(*objects.model, *objects.adapters,
                         {.sliding_window = 6, .dtype = "float32", .base_folder = {}}, folder_ / "exported");
  std::map<std::string, at::Tensor> weights = models::read_tensors(folder_ / "exported" / "model.safetensors");
  EXPECT_FALSE(weights.at("model.layers.0.mlp.down_proj.weight")
                   .equal(objects.model->parameters().at("model.layers.0.mlp.down_proj.weight")));
  std::erase_if(weights, [](const auto& entry) { return entry.first.find(".rosa_attn.") != std::string::npos; });
  const models::CausalModel merged(objects.model->config(), weights);
  models::AdapterSet adapters(config.adapter, merged.config(), 0);
  adapters.load_from_student(folder_ / "exported");
  const at::NoGradGuard no_gradient;
  at::manual_seed(2);
  const at::Tensor ids = at::randint(0, 9, {2, 40}, at::kLong);
  const models::ForwardOptions student = student_options(config, *objects.model, objects.adapters.get(), own.executor);
  const models::ForwardOptions of_merged = student_options(config, merged, &adapters, own.executor);
  const at::Tensor logits = objects.model->logits(objects.model->hidden_states(ids, student));
  EXPECT_TRUE(at::allclose(merged.logits(merged.hidden_states(ids, of_merged)), logits, 1e-4, 1e-4));
  // Token by token it is the same student.
  models::Generator generator(*objects.model, student, 2);
  std::vector<at::Tensor> steps;
  for (int64_t token = 0; token < ids.size(1); ++token) steps.push_back(generator.append(ids.narrow(1, token, 1)));
  EXPECT_TRUE(at::allclose(objects.model->logits(at::cat(steps, 1)), logits, 1e-4, 1e-4));

  // Half of it is refused.
  config.checkpoint.resume = recorder.last_checkpoint / "adapter.safetensors";
  EXPECT_THROW(load_trained_weights(config, objects), base::ConfigError);
  config.checkpoint.resume = "auto";
  config.lora.alpha = 8;
  EXPECT_THROW(load_trained_weights(config, objects), base::CheckpointError);
  config.lora.rank = 0;
  RunObjects without = build_run(config, Objective::distill, *single_, {.training = false});
  EXPECT_THROW(load_trained_weights(config, without), base::CheckpointError);
}

TEST_F(Lora, PairsOfANarrowBaseAreFloat32AndGroupsNameThem) {
  RunConfig config = this->config();
  config.model.compute_dtype = "bfloat16";
  config.optimizer.groups = {{.pattern = "*lora_A", .rate = 0}, {.pattern = "*.rosa_attn.*", .rate = 0}};
  const RunObjects objects = build_run(config, Objective::distill, *single_);
  Trainer trainer(config, objects.parts(*single_));
  EXPECT_EQ(trainer.trained().size(), 4U);  // B of each
  std::map<std::string, at::Tensor> start;
  for (const auto& [name, tensor] : lora_weights(objects.adapters.get())) start[name] = tensor.detach().clone();
  for (int64_t step = 0; step < 2; ++step) trainer.step(step);
  for (const auto& [name, tensor] : lora_weights(objects.adapters.get())) {
    EXPECT_EQ(tensor.scalar_type(), at::kFloat) << name;
    EXPECT_EQ(tensor.equal(start.at(name)), name.ends_with("lora_A")) << name;
  }
}

TEST_F(Lora, WhatDoesNotFitIsNamed) {
  RunConfig config = this->config();
  EXPECT_EQ(problems_of(config), "");
  config.lora.patterns = {"*.nothing.*"};
  EXPECT_THAT(problems_of(config), ::testing::HasSubstr("lora.patterns: '*.nothing.*' matches no weight"));
  config.lora.patterns = {"*.q_proj.weight", "*norm.weight"};
  EXPECT_THAT(problems_of(config), ::testing::HasSubstr("'*norm.weight' matches model.layers.0.input_layernorm.weight, "
                                                        "which is no linear projection"));
  config.lora.patterns = {"*embed_tokens*"};
  EXPECT_THAT(problems_of(config), ::testing::HasSubstr("which is no linear projection"));
  config.lora.patterns = {};
  EXPECT_THAT(problems_of(config), ::testing::HasSubstr("lora.patterns"));
  config = this->config();
  config.train.trainable_base = {"*.down_proj.weight"};
  EXPECT_THAT(problems_of(config), ::testing::HasSubstr("model.layers.0.mlp.down_proj.weight, which "
                                                        "train.trainable_base trains at full rank"));
  config = this->config();
  config.lora.rank = 60000;
  EXPECT_THAT(problems_of(config), ::testing::HasSubstr("lora.rank: is 60000"));
  config = this->config();
  config.loss.distill_alpha = 0;
  EXPECT_THAT(problems_of(config, Objective::pretrain), ::testing::HasSubstr("lora.rank: is 2, but pretraining"));
}

}  // namespace
}  // namespace rosa::training
