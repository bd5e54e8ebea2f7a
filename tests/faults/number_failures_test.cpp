// Whole runs in which numbers fail: not-finite losses and gradients, spikes, and replicas that drift apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kExitNumeric = 6;

class NumberFailures : public ::testing::Test {
 protected:
  JobResult train(const TinyRun& run, const std::string& fault, std::vector<std::string> overrides,
                  const std::string& save_fault = "") {
    return run_job(run.train_command(overrides),
                   {.num_ranks = 2,
                    .launcher_options = {"--quiet"},
                    .environment = {{"ROSA_FAULT", fault}, {"ROSA_SAVE_FAULT", save_fault}}});
  }
  static std::string weights(const TinyRun& run, int step) {
    return text_of_file(run.checkpoint(step) / "adapter.safetensors");
  }

  const TemporaryFolder work_;
};

TEST_F(NumberFailures, ANotFiniteStepIsSkippedOnAllRanksAndNothingOfItStays) {
  for (const char* kind : {"nan_loss", "nan_gradient"}) {
    SCOPED_TRACE(kind);
    const TinyRun run(work_ / kind, 6);
    const JobResult result = train(run, std::string("do=") + kind + " rank=1 step=3", {"failures.drift_every=1"});
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output, AllOf(HasSubstr("step 3: "), HasSubstr("the update is skipped")));
    if (std::string(kind) == "nan_loss") {
      EXPECT_THAT(result.output, HasSubstr("on rank 1: the loss of micro-batch 2"));
    }
    EXPECT_THAT(text_of_file(run.folder() / "metrics.jsonl"), HasSubstr("\"num_skipped\":1"));
  }
  EXPECT_TRUE(weights(TinyRun(work_ / "nan_loss", 6), 6) == weights(TinyRun(work_ / "nan_gradient", 6), 6))
      << "both skip the same update";
}

TEST_F(NumberFailures, TooManyInARowEndTheRunAndTheCheckpointsAreClean) {
  const TinyRun run(work_ / "run", 20);
  // The save of step 4 is still under way when the run ends.
  const JobResult result = train(run, "do=nan_gradient rank=0 step=3-", {"failures.max_in_a_row=2"},
                                 /*save_fault=*/"sleep 1000 at snapshot save 2");
  EXPECT_EQ(result.exit_code, kExitNumeric) << result.output;
  EXPECT_THAT(result.output, HasSubstr("3 steps in a row are not finite"));
  EXPECT_TRUE(std::filesystem::exists(run.checkpoint(4)));
  const JobResult again = run_job(run.train_command(), {.num_ranks = 2});
  EXPECT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, HasSubstr("resumed "));
}

// All ranks fail alike: the one that speaks may have learnt before that another ends the job. Several times, since that
// was so in one of four.
TEST_F(NumberFailures, StopMeansStopAndTheLastWordIsHeard) {
  for (const char* name : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
    const TinyRun run(work_ / name, 6);
    const JobResult result = train(run, "do=nan_loss rank=1 step=2", {"failures.on_non_finite=stop"});
    EXPECT_EQ(result.exit_code, kExitNumeric) << result.output;
    EXPECT_THAT(result.output, HasSubstr("step 2: the loss is"));
  }
}

TEST_F(NumberFailures, ARollBackGoesOnFromTheCheckpointWithoutTheStep) {
  const TinyRun run(work_ / "run", 8), skipped(work_ / "skipped", 8);
  const JobResult result = train(run, "do=nan_loss rank=1 step=5", {"failures.on_non_finite=roll_back"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("going back to the newest checkpoint"), HasSubstr("rolled back to "),
                                   HasSubstr("step 5 had failed before")));
  const std::string metrics = text_of_file(run.folder() / "metrics.jsonl");
  EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), 8) << "each step once\n" << metrics;
  ASSERT_EQ(train(skipped, "do=nan_loss rank=0 step=5", {}).exit_code, 0);
  EXPECT_FALSE(weights(run, 8).empty());
  EXPECT_TRUE(weights(run, 8) == weights(skipped, 8)) << "the same as a run that skips the step";
}

TEST_F(NumberFailures, ARollBackWithoutACheckpointEnds) {
  const TinyRun run(work_ / "run", 8);
  const JobResult result =
      train(run, "do=nan_loss rank=1 step=1", {"failures.on_non_finite=roll_back", "checkpoint.every=100"});
  EXPECT_EQ(result.exit_code, kExitNumeric) << result.output;
  EXPECT_THAT(result.output, HasSubstr("no checkpoint to go back to"));
}

TEST_F(NumberFailures, SpikesAreToldAndSkippedWhereConfigured) {
  std::map<std::string, std::string> bytes;
  for (const char* on_spike : {"log", "skip"}) {
    const TinyRun run(work_ / on_spike, 24);
    const JobResult result =
        train(run, "do=spike rank=1 step=20", {std::string("failures.on_spike=") + on_spike, "checkpoint.every=10"});
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output, HasSubstr("step 20: the loss spikes to"));
    EXPECT_THAT(text_of_file(run.folder() / "metrics.jsonl"), HasSubstr("\"num_spikes\":1"));
    bytes[on_spike] = weights(run, 24);
  }
  EXPECT_FALSE(bytes["log"] == bytes["skip"]);
}

TEST_F(NumberFailures, AReplicaThatDriftsIsNamedWithItsTensor) {
  const TinyRun run(work_ / "run", 12);
  const JobResult result = run_job(run.train_command({"failures.drift_every=3", "checkpoint.every=100"}),
                                   {.num_ranks = 4,
                                    .launcher_options = {"--quiet"},
                                    .environment = {{"ROSA_FAULT", "do=corrupt_weight rank=2 step=4"}}});
  EXPECT_EQ(result.exit_code, kExitNumeric) << result.output;
  EXPECT_THAT(result.output,
              AllOf(HasSubstr("drifted apart, seen after step 5: rank 2 in '"), Not(HasSubstr("rank 1 in"))));
}

TEST_F(NumberFailures, DriftedWeightsAreNotSaved) {
  const TinyRun run(work_ / "run", 12);
  const JobResult result =
      train(run, "do=corrupt_weight rank=1 step=4", {"failures.drift_every=100", "checkpoint.every=2"});
  EXPECT_EQ(result.exit_code, kExitNumeric) << result.output;
  EXPECT_TRUE(std::filesystem::exists(run.checkpoint(4)));
  EXPECT_FALSE(std::filesystem::exists(run.checkpoint(6)));
}

}  // namespace
}  // namespace rosa::testing
