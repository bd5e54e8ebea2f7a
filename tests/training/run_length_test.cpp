// How long a run is: in epochs of its file, or until its evaluations no longer get better.
#include "training/run_length.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/data/token_file_writer.h"
#include "training/early_stop.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

class RunLengthTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  // Of `num_sequences` sequences, and a rest that makes none.
  std::string token_file(int64_t num_sequences) const {
    const auto path = folder_ / (std::to_string(num_sequences) + ".tokens");
    if (std::filesystem::exists(path)) return path.string();
    TokenFileWriter writer(path, /*vocabulary_size=*/211, {});
    std::vector<int64_t> tokens;
    for (int64_t i = 0; i < num_sequences * 24 + 5; ++i) tokens.push_back(i * 7 % 211);
    writer.add_document(tokens);
    writer.finish();
    return path.string();
  }
  RunConfig config(double num_epochs) const {
    RunConfig config = tiny_config(folder_ / "run");
    config.data = {.kind = DataKind::token_file, .train_path = token_file(20), .sequence_length = 24};
    config.data.held_out_path = config.data.train_path;
    config.train.num_steps = 0;
    config.train.num_epochs = num_epochs;
    config.train.micro_batches = 2;
    config.train.micro_batch_sequences = 4;
    return config;
  }
  RunConfig early_stop_config(const std::string& name, int64_t patience) const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.micro_batches = 4;
    config.train.num_steps = 12;
    config.evaluation = {.every = 2, .num_sequences = 2};
    config.train.early_stop = {
        .patience = patience, .figure = "", .min_delta = 100};  // the first evaluation stays the best
    return config;
  }
  const testing::TemporaryFolder folder_;
};

TEST_F(RunLengthTest, EpochsMakeSteps) {
  // 20 sequences, 8 a step.
  for (const auto& [epochs, steps] :
       std::map<double, int64_t>{{1, 3}, {2, 5}, {0.4, 1}, {0.41, 2}, {1e-9, 1}, {1.2, 3}}) {
    EXPECT_EQ(length_of_epochs(config(epochs)).num_steps, steps) << epochs;
  }
  EXPECT_EQ(length_of_epochs(config(2)).text(2), "5: train.num_epochs 2 of 20 sequences");
  RunConfig drawn = config(1);
  drawn.data = tiny_config(folder_ / "run").data;
  EXPECT_THROW(length_of_epochs(drawn), base::ConfigError);
  EXPECT_THROW(length_of_epochs(config(1e300)), base::ConfigError);
}

// The run is that of the same number of steps, and a file of another size is told as another number of them.
TEST_F(RunLengthTest, ARunOfEpochsIsOneOfTheirSteps) {
  Recorder recorder;
  ASSERT_EQ(train(config(1), recorder), RunOutcome::finished);
  EXPECT_EQ(recorder.losses.size(), 3u);
  RunConfig in_steps = config(0);
  in_steps.train.num_steps = 3;
  Recorder again;
  ASSERT_EQ(train(in_steps, again), RunOutcome::finished);
  EXPECT_EQ(again.first_steps, (std::vector<int64_t>{3}));  // the run is done
  RunConfig larger = config(1);
  larger.data.train_path = token_file(40);
  try {
    train(larger, again);
    FAIL() << "no error";
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("train.num_steps: the checkpoint has '3', this run has '5'"));
  }
  RunConfig both = config(1);
  both.train.num_steps = 3;
  EXPECT_THROW(train(both, again), base::ConfigError);
}

TEST(EarlyStop, CountsEvaluationsThatAreNoBetter) {
  EarlyStop stop({.patience = 2, .figure = "", .min_delta = 0.1});
  const auto note = [&stop](int64_t step, double ce) {
    stop.note({.step = step, .ce = ce});
    return stop.is_reached();
  };
  EXPECT_FALSE(note(1, 2.0));
  EXPECT_FALSE(note(2, 1.95));  // better, but not by enough
  EXPECT_FALSE(note(3, 1.85));
  EXPECT_FALSE(note(4, std::numeric_limits<double>::quiet_NaN()));
  EarlyStop loaded({.patience = 2, .figure = "", .min_delta = 0.1}), other({.patience = 1, .figure = "needle/exact"});
  loaded.load_state(stop.save_state());
  other.load_state(stop.save_state());
  EXPECT_FALSE(loaded.is_reached());
  EXPECT_TRUE(note(5, 1.8));
  EXPECT_EQ(stop.reason(), "ce has not got better by more than 0.1 in 2 evaluations: the best was 1.85 after step 3");
  loaded.note({.step = 5, .ce = 1.8});
  EXPECT_EQ(loaded.reason(), stop.reason());
  // More of a share is better; an evaluation without the suite does not count, nor does what another figure was.
  other.note({.ce = 9, .suite = {{"needle/exact", 0.5}}});
  other.note({.ce = 9, .suite = {{"needle/exact", 0.6}}});
  other.note({.ce = 9});
  EXPECT_FALSE(other.is_reached());
  other.note({.ce = 1, .suite = {{"needle/exact", 0.55}}});
  EXPECT_TRUE(other.is_reached());
  base::StateDict broken = stop.save_state();
  broken.values.erase("num_worse");
  EXPECT_THROW(loaded.load_state(broken), base::CheckpointError);
}

TEST_F(RunLengthTest, ARunThatGetsNoBetterEndsAndStaysEnded) {
  Recorder whole;
  ASSERT_EQ(train(early_stop_config("whole", 0), whole), RunOutcome::finished);
  ASSERT_EQ(whole.losses.size(), 12u);
  Recorder early;
  ASSERT_EQ(train(early_stop_config("early", 2), early), RunOutcome::finished);
  EXPECT_EQ(early.losses.size(), 6u);  // evaluations after 2, 4 and 6
  EXPECT_THAT(early.notices, HasSubstr("stopped early after 6 of 12 steps (train.early_stop): ce has not got better"));
  // Through a stop and on two ranks it is the same.
  const RunConfig resumed = early_stop_config("resumed", 2);
  Recorder parts;
  ASSERT_EQ(train(resumed, parts, 5), RunOutcome::stopped);
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    EXPECT_EQ(train(resumed, parts, 0, &communicator), RunOutcome::finished);
  });
  EXPECT_EQ(parts.losses, early.losses);
  // The same command again trains no further; with more patience it goes on, as a run that never stopped.
  ASSERT_EQ(train(resumed, parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses.size(), 6u);
  ASSERT_EQ(train(early_stop_config("resumed", 9), parts), RunOutcome::finished);
  EXPECT_EQ(parts.losses, whole.losses);
  EXPECT_EQ(parts.evaluations, whole.evaluations);
}

// A checkpoint from before early_stop was set has no state of it.
TEST_F(RunLengthTest, EarlyStopMayBeSetLater) {
  Recorder recorder;
  ASSERT_EQ(train(early_stop_config("run", 0), recorder, 5), RunOutcome::stopped);
  ASSERT_EQ(train(early_stop_config("run", 1), recorder), RunOutcome::finished);
  EXPECT_EQ(recorder.losses.size(), 8u);  // evaluations after 6 and 8
}

}  // namespace
}  // namespace rosa::training
