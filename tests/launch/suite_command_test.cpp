// Evaluation suites in the real program: `rosa eval --suite` on one rank and two, and at the evaluations of a training.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::JobResult;
using testing::text_of_file;

class SuiteCommand : public ::testing::Test {
 protected:
  SuiteCommand() {
    std::ofstream(folder_ / "suite.yaml") << "num_resamples: 100\n"
                                             "tasks:\n"
                                             "  - {task: needle, lengths: [40], depths: [0, 100], count: 6}\n"
                                             "  - {task: length, lengths: [48], count: 5}\n";
  }
  JobResult eval(const std::vector<std::string>& arguments, int num_ranks = 1) const {
    std::vector<std::string> command = {testing::rosa_program(), "eval", "run"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return testing::run_job(command, {.num_ranks = num_ranks, .folder = folder_.path()});
  }
  std::vector<std::string> with_suite(std::vector<std::string> overrides) const {
    overrides.push_back("evaluation.suite=" + (folder_ / "suite.yaml").string());
    return overrides;
  }

  const testing::TemporaryFolder folder_;
  const testing::TinyRun run_{folder_ / "run", 4};
};

TEST_F(SuiteCommand, ScoresARunAlikeOnAnyNumberOfRanks) {
  ASSERT_EQ(testing::run_job(run_.train_command()).exit_code, 0);
  const JobResult table = eval({"--suite", "suite.yaml", "-o", "one.json"});
  ASSERT_EQ(table.exit_code, 0) << table.output;
  EXPECT_THAT(table.output, HasSubstr("needle: answers that are right in every token"));
  ASSERT_EQ(eval({"--suite", "suite.yaml", "-o", "two.json"}, 2).exit_code, 0);
  json one = json::parse(text_of_file(folder_ / "one.json")), two = json::parse(text_of_file(folder_ / "two.json"));
  ASSERT_FALSE(one["rows"].empty());
  for (json* scores : {&one, &two}) {
    for (json& row : (*scores)["rows"]) row["figures"].erase("us_per_token");
  }
  EXPECT_EQ(one, two);
  // rosa report shows both, beside the run and alone, and says where a file is none of them.
  const auto report = [this](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {testing::rosa_program(), "report"});
    return testing::run_job(arguments, {.folder = folder_.path()});
  };
  const JobResult shown = report({"run", "one.json", "two.json", "--markdown"});
  EXPECT_EQ(shown.exit_code, 0) << shown.output;
  EXPECT_THAT(shown.output, HasSubstr("# run\n"));
  EXPECT_THAT(shown.output, HasSubstr("| one | suite.yaml | run | 4 |"));
  EXPECT_THAT(shown.output, HasSubstr("one, rosa_zeroed"));
  EXPECT_THAT(report({"one.json", "-o", "page.html"}).output, HasSubstr("page.html: 1 suite"));
  EXPECT_EQ(report({"one.json", "-o", "one.json", "--force"}).exit_code, 2);
  const JobResult no_suite = report({"run", "suite.yaml"});
  EXPECT_EQ(no_suite.exit_code, 3);
  EXPECT_THAT(no_suite.output, HasSubstr("suite.yaml"));
  // Its own kind of file is replaced, the suite itself is not.
  EXPECT_EQ(eval({"--suite", "suite.yaml", "-o", "one.json"}).exit_code, 0);
  EXPECT_EQ(eval({"--suite", "suite.yaml", "--force", "-o", "suite.yaml"}).exit_code, 2);
}

TEST_F(SuiteCommand, SaysWhatIsWrong) {
  ASSERT_EQ(testing::run_job(run_.train_command()).exit_code, 0);
  const JobResult typo = eval({"--suite", "quikc"});
  EXPECT_EQ(typo.exit_code, 2);
  EXPECT_THAT(typo.output, HasSubstr("quick, standard, long, or a YAML file"));
  std::ofstream(folder_ / "bad.yaml") << "tasks:\n  - {task: neddle}\n  - {task: copy, prompt_tokens: 32}\n";
  const JobResult bad = eval({"--suite", "bad.yaml"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.output, HasSubstr("bad.yaml:2: tasks[0].task"));
  EXPECT_THAT(bad.output, HasSubstr("bad.yaml:3: tasks[1].prompt_tokens"));
}

TEST_F(SuiteCommand, RunsAtTheEvaluationsOfATraining) {
  const std::vector<std::string> overrides =
      with_suite({"evaluation.every=1", "evaluation.suite_every=2", "checkpoint.keep_best=1", "checkpoint.keep_last=1",
                  "checkpoint.best_by=length/perplexity"});
  const JobResult trained = testing::run_job(run_.train_command(overrides), {.num_ranks = 2});
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(run_.log(0), HasSubstr("suite after step 2: length/perplexity"));
  EXPECT_THAT(testing::run_job({testing::rosa_program(), "report", run_.folder().string(), "--markdown"}).output,
              HasSubstr("\n## Suite: needle\n"));
  std::istringstream lines(text_of_file(run_.folder() / "metrics.jsonl"));
  std::vector<int64_t> steps;
  for (std::string line; std::getline(lines, line);) {
    const json entry = json::parse(line);
    if (!entry.contains("suite")) continue;
    steps.push_back(entry["step"]);
    EXPECT_TRUE(entry["suite"].contains("needle/exact"));
    EXPECT_FALSE(entry["suite_rows"].empty());
  }
  EXPECT_THAT(steps, ::testing::ElementsAre(2, 4));
  EXPECT_THAT(testing::run_rosa({"checkpoint", "list", run_.folder()}).output, HasSubstr("length/perplexity "));
  const JobResult csv = testing::run_rosa({"metrics", run_.folder(), "--csv", "--kind", "suite"});
  EXPECT_THAT(csv.output, HasSubstr("step,name,value\n2,length/ce,"));
  EXPECT_THAT(csv.output, HasSubstr("\n4,needle/top1,"));
}

TEST_F(SuiteCommand, ATrainingRefusesASuiteThatItCouldNotRun) {
  const JobResult unknown =
      testing::run_job(run_.train_command(with_suite({"evaluation.every=1", "checkpoint.best_by=needle/exatc"})));
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.output, HasSubstr("needle/exact"));
  const JobResult never =
      testing::run_job(run_.train_command(with_suite({"evaluation.every=1", "evaluation.suite_every=100",
                                                      "checkpoint.keep_best=1", "checkpoint.best_by=needle/exact"})));
  EXPECT_EQ(never.exit_code, 2);
  EXPECT_THAT(never.output, HasSubstr("evaluation.suite_every"));
  std::ofstream(folder_ / "suite.yaml") << "tasks: [{task: needle, lengths: [12]}]\n";
  EXPECT_EQ(testing::run_job(run_.train_command(with_suite({"evaluation.every=1"}))).exit_code, 2);
}

}  // namespace
}  // namespace rosa
