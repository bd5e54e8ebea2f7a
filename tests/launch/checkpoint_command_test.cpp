// `rosa checkpoint` and --accept-changed, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/safetensors.h"
#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::JobResult;
using testing::TinyRun;

JobResult rosa_checkpoint(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {testing::rosa_program(), "checkpoint"});
  return testing::run_job(std::move(arguments));
}

std::vector<float> floats(const base::TensorView& view) {
  std::vector<float> numbers(view.bytes.size() / sizeof(float));
  std::memcpy(numbers.data(), view.bytes.data(), view.bytes.size());
  return numbers;
}

class CheckpointCommandTest : public ::testing::Test {
 protected:
  CheckpointCommandTest() : run_(folder_ / "run", 4) {
    const JobResult trained = testing::run_job(run_.train_command({"checkpoint.keep_last=0", "evaluation.every=4"}));
    EXPECT_EQ(trained.exit_code, 0) << trained.output;
  }

  const testing::TemporaryFolder folder_;
  const TinyRun run_;
};

TEST_F(CheckpointCommandTest, ListAndVerifyTellWhatIsWholeAndWhyNot) {
  JobResult list = rosa_checkpoint({"list", run_.folder()});
  EXPECT_EQ(list.exit_code, 0) << list.output;
  EXPECT_THAT(list.output, ::testing::ContainsRegex("\n2 .*KiB +- +whole\n4 .*KiB +[0-9.]+ +whole\n"));
  EXPECT_EQ(rosa_checkpoint({"verify", run_.folder()}).exit_code, 0);

  fs::resize_file(run_.checkpoint(4) / "adapter.safetensors", 100);
  list = rosa_checkpoint({"list", run_.folder()});
  EXPECT_EQ(list.exit_code, 0);
  EXPECT_THAT(list.output, HasSubstr("adapter.safetensors is damaged: it has 100 bytes"));
  const JobResult verify = rosa_checkpoint({"verify", run_.folder()});
  EXPECT_EQ(verify.exit_code, 4);
  EXPECT_THAT(verify.output, HasSubstr("step_00000002: whole"));
  EXPECT_THAT(verify.output, HasSubstr("adapter.safetensors is damaged"));
  EXPECT_EQ(rosa_checkpoint({"verify", run_.checkpoint(2)}).exit_code, 0);
  EXPECT_EQ(rosa_checkpoint({"verify", run_.checkpoint(4)}).exit_code, 4);
  EXPECT_EQ(rosa_checkpoint({"list", folder_.path()}).exit_code, 4) << "no checkpoints";
}

TEST_F(CheckpointCommandTest, ShowTellsEverythingButTheNumbers) {
  const JobResult show = rosa_checkpoint({"show", run_.folder()});
  EXPECT_EQ(show.exit_code, 0) << show.output;
  for (const char* text : {"step_00000004", "step 4, evaluation ", "schedules at step 4 of 4: learning_rate 0, alpha 1",
                           "model.layers.0.self_attn.rosa_attn.q_proj.weight  F32 [16, 64]", "state optimizer",
                           "num_samples_done = 16", "sliding_window: 6"}) {
    EXPECT_THAT(show.output, HasSubstr(text));
  }
  const std::string record = testing::text_of_file(run_.folder() / "run.json");
  const size_t id = record.find("\"run_id\":\"") + 10;
  EXPECT_THAT(show.output, HasSubstr("run " + record.substr(id, 16)));
  EXPECT_THAT(rosa_checkpoint({"show", run_.checkpoint(2)}).output, HasSubstr("step 2, evaluation -"));
}

TEST_F(CheckpointCommandTest, AverageIsTheMeanInFloat64AndScores) {
  const std::string mean = folder_ / "mean.safetensors";
  const JobResult result = rosa_checkpoint({"average", run_.folder(), "-o", mean});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const base::SafetensorsFile first(run_.checkpoint(2) / "adapter.safetensors");
  const base::SafetensorsFile second(run_.checkpoint(4) / "adapter.safetensors");
  const base::SafetensorsFile averaged(mean);
  ASSERT_EQ(averaged.tensors().size(), first.tensors().size());
  bool differs = false;
  for (const auto& [name, view] : averaged.tensors()) {
    EXPECT_EQ(view.dtype, "F32");
    EXPECT_EQ(view.shape, first.at(name).shape);
    const auto a = floats(first.at(name)), b = floats(second.at(name)), actual = floats(view);
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(actual[i], static_cast<float>((double{a[i]} + double{b[i]}) / 2)) << name;
      differs = differs || a[i] != b[i];
    }
  }
  EXPECT_TRUE(differs) << "training changes weights";
  const JobResult eval =
      testing::run_job({testing::rosa_program(), "eval", run_.folder(), "--variants", "rosa", "--checkpoint", mean});
  EXPECT_EQ(eval.exit_code, 0) << eval.output;
  fs::resize_file(run_.checkpoint(4) / "state.json", 3);
  EXPECT_EQ(rosa_checkpoint({"average", run_.folder(), "-o", mean}).exit_code, 4) << "damaged ones have no part in it";
}

TEST_F(CheckpointCommandTest, AChangeIsRefusedAndAcceptedByItsFlag) {
  const JobResult refused = testing::run_job(run_.train_command({"train.num_steps=6"}));
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.output, HasSubstr("add --accept-changed train.num_steps;"));
  auto command = run_.train_command({"train.num_steps=6"});
  command.insert(command.end(), {"--accept-changed", "num_steps"});
  const JobResult accepted = testing::run_job(command);
  EXPECT_EQ(accepted.exit_code, 0) << accepted.output;
  EXPECT_THAT(accepted.output, HasSubstr("accepted a change: train.num_steps"));
  EXPECT_TRUE(fs::exists(run_.checkpoint(6)));
  command.back() = "num_stesp";
  const JobResult misspelt = testing::run_job(command);
  EXPECT_EQ(misspelt.exit_code, 2);
  EXPECT_THAT(misspelt.output, HasSubstr("did you mean num_steps?"));
}

TEST_F(CheckpointCommandTest, AverageRefusesOtherRecipesByName) {
  const std::string mean = folder_ / "mean.safetensors";
  const testing::TinyRun other(folder_ / "other", 4);
  ASSERT_EQ(testing::run_job(other.train_command({"optimizer.weight_decay=0.5"})).exit_code, 0);
  const std::vector<std::string> both = {"average", run_.checkpoint(4), other.checkpoint(4), "-o", mean};
  const JobResult refused = rosa_checkpoint(both);
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.output,
              AllOf(HasSubstr("is of another recipe than"), HasSubstr("optimizer.weight_decay is '0.5'"),
                    HasSubstr("add --accept-changed optimizer.weight_decay\n")));
  EXPECT_FALSE(fs::exists(mean));
  auto accepted = both;
  accepted.insert(accepted.end(), {"--accept-changed", "optimizer"});
  const JobResult result = rosa_checkpoint(accepted);
  EXPECT_EQ(result.exit_code, 0) << result.output;
  const JobResult twice = rosa_checkpoint({"average", run_.folder(), run_.checkpoint(4), "-o", mean, "--force"});
  EXPECT_EQ(twice.exit_code, 2);
  EXPECT_THAT(twice.output, HasSubstr("is named twice, and would count twice"));
}

}  // namespace
}  // namespace rosa
