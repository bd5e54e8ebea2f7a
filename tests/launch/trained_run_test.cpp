// What eval and generate take from a run folder, from outside: only what they need, and nothing that is not the
// checkpoint's own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::JobResult;
using testing::TinyRun;

class TrainedRunTest : public ::testing::Test {
 protected:
  TrainedRunTest() : run_(folder_ / "run", 4) {
    fs::copy(fs::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied", folder_ / "model");
    std::ofstream(folder_ / "text.txt") << std::string(4000, 'a') + "\n" + std::string(4000, 'b');
    std::ofstream(folder_ / "held_out.txt") << std::string(4000, 'c') + "\n" + std::string(4000, 'd');
    const JobResult trained = testing::run_job(run_.train_command(
        {"checkpoint.keep_last=0", "evaluation.every=4", "data.kind=crops",
         "model.folder=" + (folder_ / "model").string(), "data.train_path=" + (folder_ / "text.txt").string(),
         "data.held_out_path=" + (folder_ / "held_out.txt").string()}));
    EXPECT_EQ(trained.exit_code, 0) << trained.output;
  }

  JobResult eval(std::vector<std::string> arguments = {}) const {
    arguments.insert(arguments.begin(), {"eval", run_.folder(), "--variants", "window"});
    return testing::run_rosa(std::move(arguments));
  }
  JobResult generate(std::vector<std::string> arguments = {}) const {
    arguments.insert(arguments.begin(), {"generate", run_.folder(), "-n", "2", "--print-ids"});
    return testing::run_rosa(std::move(arguments));
  }
  void replace_model() const {
    std::fstream weights(folder_ / "model/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    weights.seekp(-2, std::ios::end);
    weights.put('\1').flush();
  }

  const testing::TemporaryFolder folder_;
  const TinyRun run_;
};

TEST_F(TrainedRunTest, EvalNeedsHeldOutDataOnlyAndGenerateNone) {
  fs::remove(folder_ / "text.txt");
  EXPECT_EQ(eval().exit_code, 0) << eval().output;
  EXPECT_EQ(generate().exit_code, 0) << "the prompt is held-out data";
  fs::remove(folder_ / "held_out.txt");
  const JobResult result = generate({"--ids", "1,2"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(eval().output, HasSubstr("held_out.txt"));
  EXPECT_NE(eval().exit_code, 0);
  EXPECT_NE(generate().exit_code, 0);
}

TEST_F(TrainedRunTest, AModelThatWasReplacedIsNoticed) {
  replace_model();
  for (const JobResult& result : {eval(), generate({"--ids", "1,2"})}) {
    EXPECT_EQ(result.exit_code, 4);
    EXPECT_THAT(result.output,
                AllOf(HasSubstr("model (weights and configuration"), HasSubstr("--accept-changed model;")));
  }
  EXPECT_EQ(eval({"--accept-changed", "model"}).exit_code, 0);
  EXPECT_THAT(eval({"--accept-changed", "model"}).output, HasSubstr("accepted a change: model"));
  EXPECT_EQ(generate({"--ids", "1,2", "--accept-changed", "model"}).exit_code, 0);
}

TEST_F(TrainedRunTest, SettingsThatContradictTheWeightsAreNoticed) {
  const JobResult result = eval({"--set", "student.sliding_window=5"});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.output, HasSubstr("--accept-changed student.sliding_window;"));
  EXPECT_EQ(eval({"--set", "student.sliding_window=5", "--accept-changed", "student"}).exit_code, 0);
  EXPECT_EQ(eval({"--set", "evaluation.num_sequences=2"}).exit_code, 0);
  EXPECT_EQ(eval({"--accept-changed", "student.slidng_window"}).exit_code, 2);
}

TEST_F(TrainedRunTest, HeldOutDataThatWasReplacedIsNoticedAndOtherDataMayBeNamed) {
  std::ofstream(folder_ / "other.txt") << std::string(8000, 'e');
  EXPECT_EQ(eval({"--set", "data.held_out_path=" + (folder_ / "other.txt").string()}).exit_code, 0);
  fs::rename(folder_ / "other.txt", folder_ / "held_out.txt");
  EXPECT_EQ(eval().exit_code, 4);
  EXPECT_THAT(eval().output, HasSubstr("--accept-changed held_out_data;"));
  EXPECT_EQ(eval({"--accept-changed", "held_out_data"}).exit_code, 0);
}

TEST_F(TrainedRunTest, ACheckpointIsFoundByItsNameInTheRun) {
  EXPECT_THAT(eval({"--checkpoint", "step_00000002"}).output, HasSubstr("after 2 steps"));
  EXPECT_THAT(eval({"--checkpoint", "2"}).output, HasSubstr("after 2 steps"));
  EXPECT_THAT(eval({"--checkpoint", run_.checkpoint(2)}).output, HasSubstr("after 2 steps"));
  EXPECT_EQ(generate({"--ids", "1", "--checkpoint", "step_00000002"}).exit_code, 0);
  const JobResult missing = eval({"--checkpoint", "step_00000003"});
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_THAT(missing.output, HasSubstr("which holds step_00000002, step_00000004"));
  const std::string run = run_.folder();
  EXPECT_THAT(testing::run_rosa({"checkpoint", "show", run, "step_00000002"}).output, HasSubstr("step 2, "));
  EXPECT_THAT(testing::run_rosa({"checkpoint", "show", run}).output, HasSubstr("step 4, "));
  EXPECT_EQ(testing::run_rosa({"checkpoint", "show", run, "step_00000003"}).exit_code, 4);
  EXPECT_THAT(testing::run_rosa({"checkpoint", "verify", run, "step_00000002"}).output,
              AllOf(HasSubstr("step_00000002: whole"), ::testing::Not(HasSubstr("step_00000004"))));
  const std::string mean = folder_ / "mean.safetensors";
  EXPECT_THAT(testing::run_rosa({"checkpoint", "average", run, "2", "step_00000004", "-o", mean}).output,
              HasSubstr("the mean of 2 checkpoints"));
}

TEST_F(TrainedRunTest, ARunFolderMayBeMovedAndLoseItsConfiguration) {
  fs::rename(run_.folder(), folder_ / "moved");
  EXPECT_EQ(testing::run_rosa({"eval", folder_ / "moved", "--variants", "rosa"}).exit_code, 0);
  fs::remove(folder_ / "moved" / "config.yaml");
  const JobResult result = testing::run_rosa({"eval", folder_ / "moved", "--variants", "rosa"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
}

}  // namespace
}  // namespace rosa
