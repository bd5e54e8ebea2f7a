// The program of the user's that gets a run's numbers (logging.command), and TensorBoard's files, in the real program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Job;
using testing::JobOptions;
using testing::JobResult;
using ::testing::Not;
using ::testing::StartsWith;
using testing::text_of_file;
using testing::TinyRun;

constexpr int kExitStopped = 75;

int64_t num_lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

class TrackerOfARun : public ::testing::Test {
 protected:
  JobResult train(const std::string& command, std::vector<std::string> overrides = {}, JobOptions options = {}) const {
    overrides.push_back("logging.command=" + command);
    JobResult result = testing::run_job(run_.train_command(overrides), std::move(options));
    EXPECT_THAT(result.orphans, IsEmpty());
    return result;
  }
  std::string metrics() const { return text_of_file(run_.folder() / "metrics.jsonl"); }
  std::string lines() const { return text_of_file(run_.folder() / "lines"); }

  const testing::TemporaryFolder folder_;
  const TinyRun run_{folder_ / "run", 8};
};

constexpr const char* kKeepsLines = "echo hello; cat >> $ROSA_RUN_FOLDER/lines";

TEST_F(TrackerOfARun, GetsTheLinesOfMetricsOnceForAllRanks) {
  const JobResult result = train(kKeepsLines, {"evaluation.every=4"}, {.num_ranks = 2});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(num_lines(metrics()), 10);
  EXPECT_EQ(lines(), metrics());
  EXPECT_EQ(text_of_file(run_.folder() / "logs/tracker.log"), "hello\n");
  EXPECT_THAT(result.output, Not(HasSubstr("hello")));
  EXPECT_THAT(result.output, Not(HasSubstr("logging.command")));
}

TEST_F(TrackerOfARun, GetsTheLinesFromTheStepThatIsResumedAgain) {
  ASSERT_EQ(train(kKeepsLines).exit_code, 0);
  const std::string first = lines();
  fs::remove_all(run_.checkpoint(8));
  ASSERT_EQ(train(kKeepsLines).exit_code, 0);
  ASSERT_THAT(lines(), StartsWith(first));
  EXPECT_THAT(lines().substr(first.size()), StartsWith("{\"kind\":\"step\",\"step\":6,"));
  EXPECT_EQ(num_lines(lines()), 10);
}

// What the run's program is started with is the run's own environment.
TEST_F(TrackerOfARun, KnowsThatWaitingThreadsOfARunDoNotSpinForLong) {
  const std::string keeps = "env > $ROSA_RUN_FOLDER/lines; cat > /dev/null";
  ::unsetenv("GOMP_SPINCOUNT");
  ::unsetenv("OMP_WAIT_POLICY");
  ASSERT_EQ(train(keeps).exit_code, 0);
  EXPECT_THAT(lines(), HasSubstr("GOMP_SPINCOUNT=1000\n"));
  fs::remove_all(run_.folder());
  ::setenv("OMP_WAIT_POLICY", "active", 1);
  ASSERT_EQ(train(keeps).exit_code, 0);
  ::unsetenv("OMP_WAIT_POLICY");
  EXPECT_THAT(lines(), Not(HasSubstr("GOMP_SPINCOUNT")));
}

TEST_F(TrackerOfARun, ThatDiesIsOneWarning) {
  const JobResult result = train("read line; exit 3");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  const std::string warning = "logging.command 'read line; exit 3' ended with exit status 3";
  const size_t at = result.output.find(warning);
  ASSERT_NE(at, std::string::npos) << result.output;
  EXPECT_EQ(result.output.find("logging.command", at + 1), std::string::npos) << result.output;
}

TEST_F(TrackerOfARun, GetsTheLastLinesOfARunThatIsInterrupted) {
  const TinyRun run(folder_ / "long", 100000);
  Job job(run.train_command({std::string("logging.command=") + kKeepsLines}));
  ASSERT_TRUE(job.wait_for_path(run.folder() / "lines"));
  ASSERT_EQ(::kill(-job.pid(), SIGINT), 0);  // to the whole group, as a terminal sends it
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitStopped) << result.output;
  EXPECT_THAT(result.orphans, IsEmpty());
  EXPECT_EQ(text_of_file(run.folder() / "lines"), text_of_file(run.folder() / "metrics.jsonl"));
}

TEST_F(TrackerOfARun, EndsWithARunThatIsKilled) {
  const TinyRun run(folder_ / "long", 100000);
  Job job(run.train_command({std::string("logging.command=") + kKeepsLines}));
  ASSERT_TRUE(job.wait_for_path(run.folder() / "lines"));
  job.send_signal(SIGKILL);
  EXPECT_THAT(job.wait().orphans, IsEmpty());
}

TEST_F(TrackerOfARun, WorksBesideTensorBoard) {
  const JobResult result = train(kKeepsLines, {"logging.tensorboard=true"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(lines(), metrics());
  ASSERT_TRUE(fs::is_directory(run_.folder() / "tensorboard"));
  const auto entry = *fs::directory_iterator(run_.folder() / "tensorboard");
  EXPECT_THAT(entry.path().filename().string(), StartsWith("events.out.tfevents."));
  EXPECT_THAT(text_of_file(entry.path()), HasSubstr("layer_0/matched_share"));
}

}  // namespace
}  // namespace rosa
