// Runs of several stages: what each overrides, borders, resume.
#include "training/stages.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint.h"
#include "training/checkpoint_store.h"
#include "training/fault_injection.h"
#include "training/progress.h"
#include "training/run_objects.h"
#include "training/schedules.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kFirst = 4, kSecond = 3, kThird = 3;  // steps

// Also tells learning rate and stage of each step.
class StageRecorder : public Recorder {
 public:
  void on_step(const StepMetrics& metrics) override {
    Recorder::on_step(metrics);
    rates[metrics.step] = metrics.learning_rate;
    stages[metrics.step] = metrics.stage;
    num_steps = metrics.num_steps;
  }
  std::map<int64_t, double> rates;
  std::map<int64_t, std::string> stages;
  int64_t num_steps = 0;
};

class StagesTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  Stages stages(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.micro_batches = 4;
    config.schedules.alpha = {.start = 1.0};
    config.checkpoint.keep_last = 0;
    Stages stages;
    config.train.num_steps = kFirst;
    stages.push_back({"first", config, {}});
    config.train.num_steps = kSecond;
    config.adapter.estimator = "soft_rosa";
    config.loss.distill_alpha = 1.0;
    config.schedules.learning_rate = {.shape = ScheduleShape::linear, .start = 6e-3, .end = 0.0};
    stages.push_back({"second", config, {}});
    config.train.num_steps = kThird;
    config.train.trainable = {};
    config.train.trainable_base = {"*.o_proj.weight"};
    config.student.sliding_window = 4;
    config.data.sequence_length = 16;
    stages.push_back({"third", config, {}});
    note_trained_base(stages);
    return stages;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(StagesTest, EachStageHasItsOwnSettings) {
  StageRecorder recorder;
  ASSERT_EQ(train(stages(), recorder), RunOutcome::finished);
  EXPECT_EQ(recorder.num_steps, kFirst + kSecond + kThird);
  EXPECT_EQ(recorder.stages.at(kFirst - 1), "first");
  EXPECT_EQ(recorder.stages.at(kFirst), "second");
  EXPECT_EQ(recorder.stages.at(kFirst + kSecond), "third");
  // Schedules begin anew.
  EXPECT_DOUBLE_EQ(recorder.rates.at(0), 1e-2);
  EXPECT_DOUBLE_EQ(recorder.rates.at(kFirst), 6e-3);
  EXPECT_LT(recorder.rates.at(kFirst + 1), 6e-3);
  EXPECT_DOUBLE_EQ(recorder.rates.at(kFirst + kSecond), 6e-3);
  EXPECT_THAT(recorder.notices, HasSubstr("stage second (2 of 3): 3 steps from step 4"));
}

// A stage on its own, on the adapters that the first left, takes the same steps.
TEST_F(StagesTest, AStageIsARunThatBeginsWithTheWeightsOfTheLast) {
  Stages two = stages();
  two.pop_back();
  note_trained_base(two);
  two[1].config.data.pool_size = 7;  // other data: it is taken from its beginning
  StageRecorder recorder, alone;
  ASSERT_EQ(train(two, recorder), RunOutcome::finished);
  RunConfig second = two[1].config;
  second.run.folder = folder_ / "alone";
  second.train.init_from = CheckpointStore(folder_ / "run" / "checkpoints").newest_complete()->folder().parent_path() /
                           CheckpointStore::folder_name(kFirst);
  ASSERT_EQ(train(second, alone), RunOutcome::finished);
  for (int64_t step = 0; step < kSecond; ++step) {
    EXPECT_EQ(alone.losses.at(step), recorder.losses.at(kFirst + step)) << step;
  }
}

TEST_F(StagesTest, DataThatStaysTheSameGoesOn) {
  Stages two = stages();
  two.pop_back();
  note_trained_base(two);
  two[1].config = two[0].config;
  two[1].config.train.num_steps = kSecond;
  // Nothing is learnt, so that the loss tells the data.
  for (Stage& stage : two) stage.config.schedules.learning_rate = {.start = 0.0};
  StageRecorder recorder, plain;
  ASSERT_EQ(train(two, recorder), RunOutcome::finished);
  RunConfig whole = two[0].config;
  whole.run.folder = folder_ / "plain";
  whole.train.num_steps = kFirst + kSecond;
  ASSERT_EQ(train(whole, plain), RunOutcome::finished);
  EXPECT_EQ(recorder.losses, plain.losses);
}

TEST_F(StagesTest, StoppedAnywhereOrOnMoreRanksTheBitsAreTheSame) {
  StageRecorder whole;
  ASSERT_EQ(train(stages("whole"), whole), RunOutcome::finished);
  ASSERT_EQ(static_cast<int64_t>(whole.losses.size()), kFirst + kSecond + kThird);
  // Within the first, at the border, within the second, within the third.
  StageRecorder parts;
  for (const int64_t stop : {int64_t{2}, kFirst, kFirst + 1, kFirst + kSecond + 1}) {
    ASSERT_EQ(train(stages("parts"), parts, stop), RunOutcome::stopped) << stop;
  }
  ASSERT_EQ(train(stages("parts"), parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses, whole.losses);
  EXPECT_EQ(parts.evaluations, whole.evaluations);
  EXPECT_EQ(parts.rates, whole.rates);
  StageRecorder two;
  train_on_two_ranks(stages("two"), two);
  EXPECT_EQ(two.losses, whole.losses);
  EXPECT_EQ(two.evaluations, whole.evaluations);
}

TEST_F(StagesTest, ACheckpointTellsItsStage) {
  StageRecorder recorder;
  ASSERT_EQ(train(stages(), recorder), RunOutcome::finished);
  const std::filesystem::path folder = folder_ / "run" / "checkpoints";
  const auto place = [&](int64_t step) {
    return place_of(Checkpoint(folder / CheckpointStore::folder_name(step)).state("progress"));
  };
  EXPECT_EQ(place(kFirst).index, 0) << "the end of a stage is still of it";
  EXPECT_EQ(place(kFirst + kSecond).index, 1);
  const StagePlace last = place(kFirst + kSecond + kThird);
  EXPECT_EQ(last.index, 2);
  EXPECT_EQ(last.first_step, kFirst + kSecond);
  EXPECT_EQ(last.first_data_step, kFirst + kSecond) << "its data is another";
  EXPECT_EQ(last.first_sample, (kFirst + kSecond) * 4);
  EXPECT_EQ(place(kFirst + kSecond).first_data_step, 0) << "its data goes on";
}

TEST_F(StagesTest, AnEarlyStopEndsItsStageAlone) {
  Stages short_first = stages();
  short_first[0].config.train.num_steps = 20;
  for (Stage& stage : short_first) stage.config.evaluation.every = 1;
  short_first[0].config.train.early_stop = {.patience = 1, .figure = {}, .min_delta = 1e6};
  StageRecorder recorder;
  ASSERT_EQ(train(short_first, recorder), RunOutcome::finished);
  EXPECT_EQ(static_cast<int64_t>(recorder.losses.size()), 2 + kSecond + kThird);
  EXPECT_EQ(recorder.stages.at(1), "first");
  EXPECT_EQ(recorder.stages.at(2), "second");
  EXPECT_THAT(recorder.notices, HasSubstr("stage first (1 of 3) stopped early after 2 of 20 steps"));
  // A resume knows that the stage is over.
  StageRecorder again;
  short_first[2].config.run.folder = short_first[1].config.run.folder = short_first[0].config.run.folder =
      folder_ / "again";
  ASSERT_EQ(train(short_first, again, 2), RunOutcome::stopped);
  ASSERT_EQ(train(short_first, again), RunOutcome::finished);
  EXPECT_EQ(again.losses, recorder.losses);
}

TEST_F(StagesTest, AChangedStageIsNamedOnResume) {
  StageRecorder recorder;
  ASSERT_EQ(train(stages(), recorder, kFirst + 1), RunOutcome::stopped);
  Stages changed = stages();
  changed[1].config.loss.temperature = 2.0;
  try {
    train(changed, recorder);
    FAIL() << "a change went unseen";
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("stages.second.loss.temperature: the checkpoint has '1"));
    EXPECT_THAT(error.what(), HasSubstr("add --accept-changed stages.second.loss.temperature;"));
  }
  EXPECT_EQ(train(changed, recorder, 0, nullptr, {"stages"}), RunOutcome::finished);
  // Without them it is another run, too.
  EXPECT_THROW(train(stages()[0].config, recorder), base::CheckpointError);
}

// Found at the start, not where the stage begins.
TEST_F(StagesTest, ALaterStageWhoseHeldOutTextIsTooShortIsRefusedBeforeTheFirstStep) {
  Stages crops = stages();
  const std::filesystem::path text = folder_ / "text.txt";
  std::ofstream(text) << std::string(40, 'a');
  for (Stage& stage : crops) {
    stage.config.data.kind = DataKind::crops;
    stage.config.data.train_path = stage.config.data.held_out_path = text;
  }
  crops[2].config.data.sequence_length = 60;
  StageRecorder recorder;
  try {
    train(crops, recorder);
    FAIL() << "began";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("stage third (3 of 3)"));
  }
  EXPECT_TRUE(recorder.losses.empty());
}

TEST_F(StagesTest, AStepThatFailsAtTheBorderIsRolledBackAndSkipped) {
  Stages guarded = stages();
  for (Stage& stage : guarded) stage.config.failures.step_guard.on_non_finite = OnNonFinite::roll_back;
  setenv("ROSA_FAULT", ("do=nan_loss step=" + std::to_string(kFirst)).c_str(), 1);
  install_faults_of_environment(/*rank=*/0);
  StageRecorder recorder;
  EXPECT_EQ(train(guarded, recorder), RunOutcome::finished);
  unsetenv("ROSA_FAULT");
  install_faults_of_environment(/*rank=*/0);
  EXPECT_THAT(recorder.notices, HasSubstr("rolled back to "));
  EXPECT_EQ(recorder.losses.size(), static_cast<size_t>(kFirst + kSecond + kThird));
  EXPECT_EQ(recorder.stages.at(kFirst), "second");
}

TEST_F(StagesTest, EveryKeyOfTheEstimatorIsTakenOver) {
  const auto single = parallel::make_single_communicator();
  RunConfig config = tiny_config(folder_ / "run");
  RunObjects objects = build_run(config, Objective::distill, *single);
  models::AdapterConfig other = config.adapter;
  other.estimator = "soft_rosa";
  other.proxy_kernel = ProxyKernel::composed;
  other.proxy_mask = ProxyMask::sliding_window;
  other.flip_scale = FlipScale::sigmoid;
  other.sufa_head_dim = 64;
  other.position_bias = PositionBias::none;
  other.exact_value_gradient = true;
  other.query_key_gradient = false;
  other.gradient_dropout = {0.5, models::DropoutUnit::position};
  objects.adapters->use_estimator(other);
  config.adapter = objects.adapters->config();
  for (const auto& [key, value] : recipe_values(config)) {
    RunConfig expected = tiny_config(folder_ / "run");
    expected.adapter = other;
    if (key.starts_with("adapter.") && is_key_of_stage(key)) {
      EXPECT_EQ(value, recipe_values(expected).at(key)) << key;
    }
  }
}

TEST_F(StagesTest, WhatIsOfTheRunIsNotOfAStage) {
  RunConfig run = stages()[0].config;
  for (const char* key : {"loss.temperature", "data.train_path", "train.num_steps", "schedules.alpha.start",
                          "adapter.estimator", "student.sliding_window", "optimizer.beta1"}) {
    EXPECT_TRUE(is_key_of_stage(key)) << key;
  }
  for (const char* key : {"run.folder", "adapter.layers", "train.init_from", "data.kind", "checkpoint.every",
                          "model.folder", "compute.threads", "evaluation.every"}) {
    EXPECT_FALSE(is_key_of_stage(key)) << key;
  }
  Stage stage{"fine", run, {"run.yaml", {{"adapter.num_heads", "run.yaml:7"}}}};
  EXPECT_NO_THROW(check_keys_of_stage(stage, run));
  stage.config.adapter.num_heads = 2;
  try {
    check_keys_of_stage(stage, run);
    FAIL() << "a stage took what is of the run";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("run.yaml:7: adapter.num_heads"));
    EXPECT_THAT(error.what(), HasSubstr("stage 'fine'"));
  }
}

}  // namespace
}  // namespace rosa::training
