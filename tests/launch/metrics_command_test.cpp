// `rosa metrics`: the table, CSV, and what it says of folders and files that are none of a run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using ::testing::StartsWith;
using testing::text_of_file;

class MetricsCommand : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  JobResult metrics(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {testing::rosa_program(), "metrics"});
    return testing::run_job(arguments, {.folder = folder_.path()});
  }

  testing::TemporaryFolder folder_;
};

TEST_F(MetricsCommand, ShowsARun) {
  const testing::TinyRun tiny(folder_ / "run", 4);
  const JobResult trained = testing::run_job(tiny.train_command({"evaluation.every=2", "data.sequence_length=16"}));
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const JobResult table = metrics({"run"});
  EXPECT_EQ(table.exit_code, 0);
  EXPECT_THAT(table.output,
              AllOf(StartsWith("metrics of run/metrics.jsonl\n"), HasSubstr("step: 4 lines, steps 0 to 3"),
                    HasSubstr("evaluation: 2 lines, steps 2 to 4"), HasSubstr("nats a token")));
  const JobResult layers = metrics({"run", "--kind", "layer", "-n", "1"});
  EXPECT_THAT(layers.output, AllOf(HasSubstr("matched_share"), HasSubstr("layer: 4 lines")));
  const JobResult csv = metrics({"run", "--csv"});
  EXPECT_THAT(csv.output, StartsWith("step,loss,"));
  EXPECT_EQ(std::count(csv.output.begin(), csv.output.end(), '\n'), 5);
  EXPECT_EQ(metrics({"run", "--csv", "-o", "run.csv"}).exit_code, 0);
  EXPECT_EQ(text_of_file(folder_ / "run.csv"), csv.output);
  EXPECT_EQ(metrics({"run", "-o", "run.csv"}).exit_code, 0) << "its own kind of file is replaced";
  EXPECT_EQ(text_of_file(folder_ / "run.csv"), table.output);
  // Nothing that is read is written to.
  for (const char* name : {"run/metrics.jsonl", "run/config.yaml", "run/logs/rank_0000.log"}) {
    const std::string before = text_of_file(folder_ / name);
    EXPECT_EQ(metrics({"run", "--csv", "--force", "-o", name}).exit_code, 2) << name;
    EXPECT_EQ(text_of_file(folder_ / name), before);
  }
}

TEST_F(MetricsCommand, SaysWhatIsWrong) {
  write("run/metrics.jsonl",
        "{\"kind\":\"step\",\"step\":0,\"loss\":1.5}\n{\"kind\":\"st\n{\"kind\":\"step\",\"step\":2}\n");
  for (const char* option : {"--csv", "--lines=2"}) {
    const JobResult damaged = metrics({"run", option});
    EXPECT_EQ(damaged.exit_code, 3);
    EXPECT_THAT(damaged.output, AllOf(HasSubstr("run/metrics.jsonl:2:"), Not(HasSubstr("1.5"))));
  }
  fs::create_directories(folder_ / "empty");
  EXPECT_EQ(metrics({"empty"}).exit_code, 2);
  EXPECT_THAT(metrics({"empty"}).output, HasSubstr("holds no metrics.jsonl"));
  EXPECT_THAT(metrics({"absent"}).output, HasSubstr("there is no folder 'absent'"));
  EXPECT_EQ(metrics({"empty", "--kind", "steps"}).exit_code, 2);
  EXPECT_EQ(metrics({"empty", "--lines", "0"}).exit_code, 2);
  EXPECT_EQ(metrics({"run", "--lines", "2", "--csv"}).exit_code, 2);
}

TEST_F(MetricsCommand, WorksBeforeTheFirstLineAndBesideACutOne) {
  write("run/metrics.jsonl", "{\"kind\":\"st");
  EXPECT_THAT(metrics({"run"}).output, AllOf(HasSubstr("step: no line yet"), HasSubstr("evaluation: no line yet")));
  EXPECT_THAT(metrics({"run", "--csv"}).output, StartsWith("step,loss,"));
  EXPECT_EQ(metrics({"run"}).exit_code, 0);
}

}  // namespace
}  // namespace rosa
