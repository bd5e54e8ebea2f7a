// The harness that the fault tests stand on, tried on programs whose end is known.
#include "tests/support/job.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace rosa::testing {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> shell(const std::string& script) { return {"sh", "-c", script}; }

TEST(Job, GivesExitCodeOutputAndEnvironment) {
  const JobResult result =
      run_job(shell("echo out; echo err $WORD >&2; pwd; exit 7"), {.environment = {{"WORD", "word"}}, .folder = "/"});
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.output, "out\nerr word\n/\n");
  EXPECT_TRUE(result.orphans.empty());
}

TEST(Job, AProgramThatIsNotThereIsExitCode127) { EXPECT_EQ(run_job({"/no/such/program"}).exit_code, 127); }

TEST(Job, SignalsReachTheProgram) {
  Job job(shell("trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"));
  ASSERT_TRUE(job.wait_for_output("ready"));
  job.send_signal(SIGUSR1);
  EXPECT_EQ(job.wait().exit_code, 9);
}

TEST(Job, TheDeadlineKillsStoppedAndDetachedProcesses) {
  Job job(shell("setsid sleep 1000 & sleep 1000 & kill -STOP $!; echo ready; wait"));
  ASSERT_TRUE(job.wait_for_output("ready"));
  const JobResult result = job.wait(Seconds(0.1));
  EXPECT_TRUE(result.timed_out);
  EXPECT_EQ(result.exit_code, 128 + SIGKILL);
  EXPECT_TRUE(result.orphans.empty());
}

TEST(Job, WhatOutlivesTheLauncherIsNamedAndKilled) {
  Job job(shell("setsid sleep 1234 & exit 0"), {.orphan_deadline = Seconds(0.3)});
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, 0);
  ASSERT_EQ(result.orphans.size(), 1u);
  EXPECT_THAT(result.orphans[0], HasSubstr("sleep 1234"));
  // Killed: no such process, or a zombie that nobody has waited for, whose state is Z.
  EXPECT_NE(run_job(shell("grep -v '^State:[[:space:]]*Z' /proc/" + std::to_string(std::stoi(result.orphans[0])) +
                          "/status | grep State"))
                .exit_code,
            0);
}

TEST(Job, WaitingForWhatNeverComesEndsWithTheJob) {
  Job job(shell("echo this"));
  EXPECT_FALSE(job.wait_for_output("that"));
  EXPECT_FALSE(job.wait_for_path("/no/such/path"));
  EXPECT_EQ(job.wait().exit_code, 0);
}

TEST(Job, RanksAreFoundAndKilledOneByOne) {
  Job job({"sleep", "1000"}, {.num_ranks = 3});
  const pid_t first = job.rank_pid(0), second = job.rank_pid(1), third = job.rank_pid(2);
  EXPECT_TRUE(first != second && second != third && first != third && first != job.pid());
  job.send_signal_to_rank(1, SIGKILL);
  const JobResult result = job.wait();
  EXPECT_FALSE(result.timed_out) << result.output;
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.output;
  EXPECT_TRUE(result.orphans.empty());
}

}  // namespace
}  // namespace rosa::testing
