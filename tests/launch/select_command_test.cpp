// `rosa select` in the real program: of a configuration and of a run, on one rank and two, and keys that training
// takes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::JobResult;
using testing::text_of_file;

class SelectCommand : public ::testing::Test {
 protected:
  JobResult select(std::vector<std::string> arguments, int num_ranks = 0) const {
    std::vector<std::string> command = {testing::rosa_program(), "select"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return testing::run_job(command, {.num_ranks = num_ranks, .folder = folder_.path()});
  }

  const testing::TemporaryFolder folder_;
  const testing::TinyRun run_{folder_ / "run", 2, ""};
};

TEST_F(SelectCommand, OfAConfigurationItWritesKeysThatTrainingTakes) {
  const JobResult one = select({"run.yaml", "--budget", "1100", "--num-sequences", "4", "-o", "layers.yaml"});
  ASSERT_EQ(one.exit_code, 0) << one.output;
  EXPECT_THAT(one.output, AllOf(HasSubstr("run.yaml before training"), HasSubstr("windows only"),
                                HasSubstr("layers 0, 1, 2: the adapter's output is 0 whatever it retrieves before")));
  const std::string keys = text_of_file(folder_ / "layers.yaml");
  EXPECT_THAT(keys, HasSubstr("# rosa select run.yaml --budget 1100: KL "));
  // Two layers of 512 bytes; the tiny run's own student section is replaced by these keys.
  std::string text = text_of_file(run_.config());
  const std::string section = "student: {sliding_window: 6}\n";
  text.erase(text.find(section), section.size());
  std::string student = keys;
  student.insert(student.find("student:\n") + 9, "  sliding_window: 6\n");
  std::ofstream(folder_ / "chosen.yaml") << text << student;
  const JobResult tried = testing::run_rosa({"train", folder_ / "chosen.yaml", "--dry-run"});
  EXPECT_EQ(tried.exit_code, 0) << tried.output;
  EXPECT_EQ(select({"run.yaml", "--budget", "600", "--force", "-o", "run.yaml"}).exit_code, 2);
}

TEST_F(SelectCommand, OfARunItGivesTheSameOnAnyNumberOfRanks) {
  ASSERT_EQ(testing::run_job(run_.train_command({"adapter.layers=[0,2]"})).exit_code, 0);
  const std::vector<std::string> arguments = {"run", "--budget", "1e9", "--num-sequences", "5", "--json"};
  const JobResult one = select(arguments), two = select(arguments, 2);
  ASSERT_EQ(one.exit_code, 0) << one.output;
  ASSERT_EQ(two.exit_code, 0) << two.output;
  EXPECT_EQ(json::parse(one.output), json::parse(two.output));
  const json found = json::parse(one.output);
  EXPECT_EQ(found["student.global_layers"], json({0, 1, 2}));
  EXPECT_EQ(found["num_steps_done"], 2);
  EXPECT_EQ(found["num_tokens"], 5 * 23);
  EXPECT_TRUE(found["costs"]["rosa"][1].is_null());
  EXPECT_GT(found["costs"]["rosa"][2], 0);
  const JobResult text = select({"run", "--budget", "600", "--max-forwards", "1"});
  EXPECT_THAT(text.output, AllOf(HasSubstr("layer 1: no trained adapter, so no choice of ROSA"),
                                 HasSubstr("--max-forwards"), HasSubstr("global_layers: []")));
}

TEST_F(SelectCommand, SaysWhatIsWrong) {
  for (const char* budget : {"0", "511"}) {
    const JobResult result = select({"run.yaml", "--budget", budget});
    EXPECT_EQ(result.exit_code, 2) << budget;
    EXPECT_THAT(result.output, HasSubstr("below the cheapest choice, 512 (global attention in one layer)"));
  }
  EXPECT_EQ(select({"run.yaml"}).exit_code, 2);
  EXPECT_THAT(select({"run.yaml", "--budget", "600", "--checkpoint", "2"}).output, HasSubstr("are for a run"));
  EXPECT_THAT(
      select({"run.yaml", "--budget", "600", "--num-sequences", "2", "--set", "evaluation.num_sequences=4"}).output,
      HasSubstr("--num-sequences and --set evaluation.num_sequences say the same thing"));
  EXPECT_THAT(select({"run.yaml", "--budget", "600", "--set", "student.global_layers=[7]"}).output,
              HasSubstr("names layer 7, the model has layers 0 to 2"));
}

}  // namespace
}  // namespace rosa
