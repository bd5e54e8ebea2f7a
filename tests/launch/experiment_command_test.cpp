// `rosa experiment` and `rosa report`, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/job.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::JobResult;
using testing::rosa_program;
using testing::run_job;
using testing::run_rosa;

class ExperimentCommand : public ::testing::Test {
 protected:
  // A configuration of the task and estimators.
  std::string write_yaml(const std::string& task, const std::string& estimators, int num_steps) {
    const fs::path path = folder_ / "experiment.yaml";
    std::ofstream(path) << "experiment: {folder: " << (folder_ / "out").string() << ", task: " << task
                        << ", estimators: [" << estimators << "], num_steps: " << num_steps
                        << ", evaluate_every: 5, num_evaluation_samples: 2}\n"
                           "data: {num_samples: 4, length: 40, channels: 8, num_pairs: 4, num_queries: 4}\n"
                           "adapter: {query_key_bits: 4, value_bits: 4, num_heads: 2}\n"
                           "compute: {automaton_threads: 1}\n";
    return path.string();
  }

  std::string read(const fs::path& path) const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(ExperimentCommand, ComparesOnTwoRanksAndReports) {
  const std::string yaml = write_yaml("gate_only", "none, leg, disarm scope=joint num_samples=4", 6);
  const JobResult result = run_job({rosa_program(), "experiment", yaml}, {.num_ranks = 2});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("run 3 of 3: 'disarm scope=joint num_samples=4', seed 0: loss"));
  const std::string page = (folder_ / "report.html").string();
  const JobResult report = run_job({rosa_program(), "report", (folder_ / "out").string(), "-o", page});
  ASSERT_EQ(report.exit_code, 0) << report.output;
  const std::string html = read(page);
  EXPECT_THAT(html, HasSubstr("disarm scope=joint num_samples=4"));
  EXPECT_THAT(html, HasSubstr("</html>"));
  const JobResult tables = run_job({rosa_program(), "report", (folder_ / "out").string(), "--markdown"});
  EXPECT_THAT(tables.output, HasSubstr("| none"));
}

TEST_F(ExperimentCommand, EveryEstimatorOfTheAdapterLearnsToRecall) {
  const std::string yaml = write_yaml(
      "recall", "none, sufa, soft_rosa, dense_surrogate, bit_flip, local_counterfactual, sufa alpha_is_no_key=1", 3);
  const JobResult wrong = run_job({rosa_program(), "experiment", yaml});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.output, HasSubstr("alpha_is_no_key"));
  const std::string right =
      write_yaml("recall", "none, sufa, soft_rosa, dense_surrogate, bit_flip, local_counterfactual", 3);
  const JobResult result = run_job({rosa_program(), "experiment", right});
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("run 6 of 6"));
}

TEST_F(ExperimentCommand, MistakesSayWhatAndWhereBeforeAnythingRuns) {
  const JobResult unknown = run_job({rosa_program(), "experiment", write_yaml("gate_only", "leg, disram", 6)});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.output, HasSubstr("disram"));
  EXPECT_THAT(unknown.output, HasSubstr("disarm"));  // the names that there are
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  const JobResult no_folder = run_job({rosa_program(), "report", (folder_ / "out").string()});
  EXPECT_NE(no_folder.exit_code, 0);
  EXPECT_THAT(no_folder.output, HasSubstr("out"));
}

TEST_F(ExperimentCommand, StopsOnASignalAndGoesOn) {
  const std::string yaml = write_yaml("gate_only", "none, leg", 3000);
  testing::Job job({rosa_program(), "experiment", yaml}, {.num_ranks = 2});
  ASSERT_TRUE(job.wait_for_path(folder_ / "out" / "none-seed0" / "metrics.jsonl"));
  job.send_signal(SIGUSR1);
  const JobResult stopped = job.wait();
  EXPECT_EQ(stopped.exit_code, 75) << stopped.output;
  EXPECT_THAT(stopped.output, HasSubstr("the same command goes on from here"));
  EXPECT_FALSE(fs::exists(folder_ / "out" / "leg-seed0" / "result.json"));
  const JobResult changed = run_job({rosa_program(), "experiment", yaml, "--set", "experiment.num_steps=4000"});
  EXPECT_EQ(changed.exit_code, 2);
  EXPECT_THAT(changed.output, HasSubstr("num_steps: 4000"));
  const JobResult result = run_job({rosa_program(), "experiment", yaml});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_TRUE(fs::exists(folder_ / "out" / "leg-seed0" / "result.json"));
}

// What decides the runs of a folder is what the keys' own description calls the recipe.
TEST_F(ExperimentCommand, AFolderKeepsItsRecipe) {
  const std::string yaml = write_yaml("gate_only", "none", 3);
  const auto run = [&](std::vector<std::string> overrides) {
    overrides.insert(overrides.begin(), {"experiment", yaml, "--set", "compute.threads=1"});
    return run_rosa(overrides);
  };
  ASSERT_EQ(run({}).exit_code, 0);
  for (const char* free : {"experiment.title=other", "experiment.log_every=7", "experiment.seeds=[1]",
                           "watchdog.heartbeat_s=3", "compute.automaton_threads=2", "experiment.save_seconds=1"}) {
    const JobResult result = run({free});
    EXPECT_EQ(result.exit_code, 0) << free << result.output;
  }
  for (const char* recipe : {"experiment.num_steps=4", "data.length=41", "learning_rate.start=0.5",
                             "optimizer.weight_decay=0.5", "compute.threads=2", "study.num_draws=3"}) {
    const JobResult result = run({recipe});
    EXPECT_EQ(result.exit_code, 2) << recipe;
    const std::string key(recipe, std::string(recipe).find('='));
    EXPECT_THAT(result.output, HasSubstr("What differs: " + key + ": ")) << recipe;
  }
  // Settings that an earlier version of the program kept beside the recipe are not compared.
  std::string json = read(folder_ / "out/experiment.json");
  const std::string mark = "\"deciding_settings\": {";
  json.insert(json.find(mark) + mark.size(), "\"parallel.bucket_mb\": \"1\", \"watchdog.heartbeat_s\": \"99\",");
  std::ofstream(folder_ / "out/experiment.json") << json;
  const JobResult earlier = run({});
  EXPECT_EQ(earlier.exit_code, 0) << earlier.output;
  std::ofstream(folder_ / "out/experiment.json.tmp-12-ab") << "killed";
  EXPECT_EQ(run({}).exit_code, 0);
  EXPECT_FALSE(fs::exists(folder_ / "out/experiment.json.tmp-12-ab"));
  EXPECT_THAT(run({"experiment.seeds=[0,1,0]"}).output, HasSubstr("experiment.seeds: holds 0 twice"));
  const std::string out = (folder_ / "out").string();
  EXPECT_THAT(run_rosa({"report", out, out + "/", "--markdown"}).output, HasSubstr("is given twice"));
}

}  // namespace
}  // namespace rosa
