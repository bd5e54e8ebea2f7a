// A teacher of its own: another folder, size and family than the base model.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "models/export.h"
#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/plan/memory.h"
#include "training/run_objects.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

class OwnTeacher : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  // A wider Llama that knows as many tokens as the base model.
  fs::path llama_folder(int64_t more_tokens = 0) const {
    models::ModelConfig config = models::load_model_config(base().model.folder);
    config.family = models::ModelFamily::llama;
    config.vocab_size += more_tokens;
    config.hidden_size = 96;
    config.num_hidden_layers += 1;
    config.initializer_range = 0.2;
    models::export_model(models::CausalModel::random(config, 4), folder_ / "llama");
    return folder_ / "llama";
  }
  RunConfig base() const { return tiny_config(folder_ / "run"); }

  testing::TemporaryFolder folder_;
};

TEST_F(OwnTeacher, ACopyOfTheBaseTeachesTheSame) {
  RunConfig config = base();
  Recorder own, copied;
  ASSERT_EQ(train(config, own), RunOutcome::finished);
  fs::copy(config.model.folder, folder_ / "copy", fs::copy_options::recursive);
  config.run.folder = folder_ / "other";
  config.teacher.folder = folder_ / "copy";
  ASSERT_EQ(train(config, copied), RunOutcome::finished);
  EXPECT_EQ(own.losses, copied.losses);
}

TEST_F(OwnTeacher, AnotherFamilyAndSizeIsWhatIsLearntFromAndScored) {
  RunConfig config = base();
  config.teacher.folder = llama_folder();
  config.loss.distill_alpha = 1.0;
  config.train.micro_batches = 1;
  config.train.num_steps = 1;
  config.data.held_out_path.clear();
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  const RunParts parts = objects.parts(*single);

  const at::NoGradGuard no_gradient;
  const Batch batch = HeldOutSequences(config, *objects.held_out_data).batch(0, 1);
  const models::CausalModel llama = models::CausalModel::load(config.teacher.folder);
  const at::Tensor log_probabilities = llama.logits(llama.hidden_states(batch.input_ids)).log_softmax(2);
  config.evaluation.num_sequences = 1;
  const Scores scores = evaluate_variants(config, parts, {"teacher", "window"});
  const at::Tensor picked = log_probabilities.narrow(1, 0, batch.input_ids.size(1) - 1)
                                .gather(2, batch.input_ids.narrow(1, 1, batch.input_ids.size(1) - 1).unsqueeze(2));
  EXPECT_NEAR(scores.at("teacher").ce(), -picked.mean().item<double>(), 1e-5);
  EXPECT_GT(std::abs(scores.at("teacher").ce() - scores.at("window").ce()), 1e-2);
}

// A student with adapters that add nothing is the windowed base: the first step's KL is known.
TEST_F(OwnTeacher, TheFirstLossIsTheDivergenceFromIt) {
  RunConfig config = base();
  config.teacher.folder = llama_folder();
  config.loss.distill_alpha = 1.0;
  config.train.micro_batches = 1;
  const auto single = parallel::make_single_communicator();
  const RunObjects objects = build_run(config, Objective::distill, *single);
  const at::Tensor ids = objects.training_data->batch(0, 0, 1).input_ids;
  const at::NoGradGuard no_gradient;
  const models::CausalModel& teacher = *objects.own_teacher;
  models::ForwardOptions window;
  window.sliding_window = config.student.sliding_window;
  const at::Tensor p = teacher.logits(teacher.teacher_hidden_states(ids)).log_softmax(2);
  const at::Tensor q = objects.model->logits(objects.model->hidden_states(ids, window)).log_softmax(2);
  Recorder recorder;
  const at::AutoGradMode gradients(true);
  ASSERT_EQ(train(config, recorder, 1), RunOutcome::stopped);
  EXPECT_NEAR(recorder.losses.at(0), (p.exp() * (p - q)).sum(2).mean().item<double>(), 1e-4);
}

TEST_F(OwnTeacher, WhatDoesNotFitIsRefusedByName) {
  RunConfig config = base();
  config.teacher.folder = llama_folder(/*more_tokens=*/3);
  try {
    check_before_training(config, Objective::distill, 1);
    FAIL() << "accepted";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(),
                ::testing::AllOf(::testing::HasSubstr("teacher.folder"), ::testing::HasSubstr("vocabulary")));
  }
  Recorder recorder;
  EXPECT_THROW(train(config, recorder), base::ConfigError);
  config.teacher.folder = folder_ / "nothing";
  EXPECT_THROW(check_before_training(config, Objective::distill, 1), base::FileError);
}

TEST_F(OwnTeacher, AResumedRunKeepsIt) {
  RunConfig config = base();
  config.train.micro_batches = 1;
  Recorder recorder;
  ASSERT_EQ(train(config, recorder, 2), RunOutcome::stopped);
  config.teacher.folder = llama_folder();
  try {
    train(config, recorder);
    FAIL() << "went on with another teacher";
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("teacher"));
  }
  EXPECT_EQ(train(config, recorder, 0, nullptr, {"teacher"}), RunOutcome::finished);
}

TEST_F(OwnTeacher, ThePlanCountsIt) {
  RunConfig config = base();
  const models::ModelConfig model = models::load_model_config(config.model.folder);
  const MemoryPlan shared = plan_memory({.config = config, .model = model});
  config.teacher.folder = llama_folder();
  const models::ModelConfig teacher = *teacher_config_of(config);
  const auto weights = static_cast<int64_t>(models::num_parameters(teacher));
  const MemoryPlan own = plan_memory({.config = config, .model = model, .own_teacher = &teacher});
  EXPECT_EQ(own.loss.base - shared.loss.base, 4 * weights);
  config.teacher.compute_dtype = "bfloat16";
  const MemoryPlan half = plan_memory({.config = config, .model = model, .own_teacher = &teacher});
  EXPECT_EQ(half.loss.base - shared.loss.base, 2 * weights);
}

}  // namespace
}  // namespace rosa::training
