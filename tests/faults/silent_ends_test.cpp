// Jobs that would end slowly, or without a word, or with another's: every end has rosa's own message, an exit code of
// docs/running.md, and comes by itself. Siblings of this kind go here. Deadlines are those of the harness.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kExitWatchdog = 8, kExitStopped = 75;
constexpr int kEndless = 100000;  // steps: only the test ends the run

class SilentEnds : public ::testing::Test {
 protected:
  // Long enough for a busy machine and short enough for a test.
  static std::vector<std::string> watched(std::vector<std::string> overrides = {}) {
    overrides.emplace_back("failures.heartbeat_s=1");
    overrides.emplace_back("failures.hang_after_heartbeats=4");
    return overrides;
  }
  static JobOptions ranks(int num_ranks, std::map<std::string, std::string> environment = {}) {
    return {.num_ranks = num_ranks, .launcher_options = {"--quiet"}, .environment = std::move(environment)};
  }

  const TemporaryFolder work_;
};

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

// Whether the process has handlers of its own for a signal: then it is in main, and has its guardian or will at once.
bool handles(pid_t process, int signal) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("SigCgt:")) return (std::stoull(line.substr(7), nullptr, 16) >> (signal - 1) & 1) != 0;
  }
  return false;
}

void wait_until_handles(pid_t process, int signal) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(kJobDeadline);
  while (!handles(process, signal)) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "no handler of signal " << signal;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

// MPI_Init is not left before all ranks are in it, so a rank that gets a signal here is before or in it.
TEST_F(SilentEnds, ASignalBeforeThereIsAnythingToSaveIsAStop) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGHUP}) {
    SCOPED_TRACE(strsignal(signal));
    const TinyRun run(work_ / ("early_" + std::to_string(signal)), kEndless);
    Job job(run.train_command(), ranks(2));
    const pid_t rank = job.rank_pid(1);
    wait_until_handles(rank, signal);
    kill(rank, signal);
    const JobResult result = job.wait();
    EXPECT_EQ(result.exit_code, kExitStopped) << result.output;
    EXPECT_THAT(result.output,
                ContainsRegex("rosa: rank 1 on [^ ]+: [A-Z1]+: stopp(ed while there was nothing to save|ing "
                              "before the next step)"));
    EXPECT_EQ(count(result.output, "rosa: "), 1) << result.output;
    EXPECT_FALSE(std::filesystem::exists(run.checkpoint(2)));
    EXPECT_THAT(result.orphans, IsEmpty());
  }
}

TEST_F(SilentEnds, TheFirstCtrlCIsAnsweredAtOnce) {
  for (const int num_ranks : {0, 2}) {
    SCOPED_TRACE(num_ranks);
    const TinyRun run(work_ / ("answer_" + std::to_string(num_ranks)), kEndless);
    Job job(run.train_command({"checkpoint.every=100000"}), ranks(num_ranks));
    ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
    job.send_signal(num_ranks == 0 ? SIGINT : SIGUSR1);
    const JobResult result = job.wait();
    EXPECT_EQ(result.exit_code, kExitStopped) << result.output;
    EXPECT_THAT(result.output,
                ContainsRegex("rosa: rank [01] on [^ ]+: (INT|USR1): finishing step [0-9]+, saving, then "
                              "exit code 75"));
    EXPECT_EQ(count(result.output, "; Ctrl-C again ends at once"), num_ranks == 0 ? 1 : 0) << result.output;
    EXPECT_EQ(count(result.output, "finishing step"), 1) << "one rank answers\n" << result.output;
  }
}

// What has nothing to go on from leaves Ctrl-C to the system, as a shell's loop needs it; the rest has a line.
TEST_F(SilentEnds, OtherSubcommandsEndAtOnceToo) {
  const TinyRun run(work_ / "run", 2);
  ASSERT_EQ(run_job(run.train_command()).exit_code, 0);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1}) {
    SCOPED_TRACE(strsignal(signal));
    Job job({rosa_program(), "eval", run.folder().string(), "--set", "evaluation.num_sequences=100000"});
    wait_until_handles(job.pid(), SIGTERM);
    job.send_signal(signal);
    const JobResult result = job.wait();
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.exit_code, signal == SIGINT ? 128 + SIGINT : kExitStopped) << result.output;
    if (signal != SIGINT) {
      EXPECT_THAT(result.output, HasSubstr("stopped while there was nothing to save, exit code 75"));
    }
  }
}

TEST_F(SilentEnds, HupThatNohupIgnoresStaysIgnored) {
  const TinyRun run(work_ / "run", kEndless);
  std::vector<std::string> command = {"nohup"};
  for (const std::string& word : run.train_command()) command.push_back(word);
  Job job(command);
  ASSERT_TRUE(job.wait_for_path(run.checkpoint(2))) << job.output();
  job.send_signal(SIGHUP);
  ASSERT_TRUE(job.wait_for_path(run.checkpoint(6))) << job.output();
  job.send_signal(SIGTERM);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitStopped);
  EXPECT_THAT(result.output, AllOf(HasSubstr("TERM: finishing"), Not(HasSubstr("HUP: "))));
}

TEST_F(SilentEnds, AKilledRankIsNamedAlsoWhereNoWatchdogIs) {
  // In MPI's start, and in a run without a watchdog.
  const TinyRun run(work_ / "run", kEndless);
  for (const bool in_start : {true, false}) {
    SCOPED_TRACE(in_start);
    Job job(run.train_command({"failures.heartbeat_s=0"}), ranks(2));
    const pid_t rank = job.rank_pid(1);
    if (in_start) {
      wait_until_handles(rank, SIGCONT);  // the last of what main does before anything else
    } else {
      ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
    }
    kill(rank, SIGKILL);
    const JobResult result = job.wait();
    EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.output;
    EXPECT_THAT(result.output, ContainsRegex("rosa: rank 1 on [^ ]+ \\(process " + std::to_string(rank) +
                                             "\\) is gone: killed, or ended without a word. It was at"));
    EXPECT_EQ(count(result.output, "rosa: "), 1) << result.output;
    EXPECT_THAT(result.orphans, IsEmpty());
  }
}

TEST_F(SilentEnds, ARankThatIsStoppedInMpisStartIsEnded) {
  const TinyRun run(work_ / "run", kEndless);
  Job job(run.train_command(watched()), ranks(2));
  const pid_t rank = job.rank_pid(1);
  wait_until_handles(rank, SIGCONT);
  kill(rank, SIGSTOP);
  const JobResult result = job.wait();
  EXPECT_FALSE(result.timed_out);
  EXPECT_THAT(result.exit_code, AnyOf(128 + SIGKILL, kExitWatchdog)) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("rank 1 on [^ ]+ \\(process [0-9]+\\) (has been stopped for|is frozen)"));
  EXPECT_EQ(count(result.output, "rosa: "), 1) << result.output;
  EXPECT_THAT(result.orphans, IsEmpty());
}

// While the system still loads the program there is no guardian: those of the host's other ranks look.
TEST_F(SilentEnds, ARankThatIsStoppedBeforeItHasAGuardianIsEnded) {
  const TinyRun run(work_ / "run", kEndless);
  Job job(run.train_command(watched()), ranks(2));
  kill(job.rank_pid(1), SIGSTOP);
  const JobResult result = job.wait();
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("rosa: rank 1 on [^ ]+ \\(process [0-9]+\\) has been stopped "));
  EXPECT_EQ(count(result.output, "rosa: "), 1) << result.output;
  EXPECT_THAT(result.orphans, IsEmpty());
}

// Before the first step and after the last there are no phases that make progress; a rank that is blocked there does
// nothing at all.
TEST_F(SilentEnds, ARankThatIsBlockedOutsideOfTheStepsIsEnded) {
  for (const auto& [fault, place] : {std::pair("step=-1 phase=start", "before the first step, phase start"),
                                     std::pair("step=0- phase=end", "phase end")}) {
    for (const int num_ranks : {0, 2}) {
      SCOPED_TRACE(::testing::Message() << fault << " on " << num_ranks);
      const TinyRun run(work_ / ("blocked" + std::to_string(num_ranks) + place), 2);
      const JobResult result =
          run_job(run.train_command(watched()),
                  ranks(num_ranks, {{"ROSA_FAULT", std::string("do=sleep seconds=100000 rank=0 ") + fault}}));
      EXPECT_EQ(result.exit_code, kExitWatchdog) << result.output;
      EXPECT_THAT(result.output,
                  AllOf(ContainsRegex("rank 0 on [^ ]+ \\(process [0-9]+\\) hangs: no progress"), HasSubstr(place)));
      EXPECT_THAT(result.orphans, IsEmpty());
    }
  }
}

std::map<std::string, std::string> broken_system(const std::string& name, const std::string& value) {
  return {{"LD_PRELOAD", ROSA_BROKEN_SYSTEM}, {name, value}};
}

// Ranks of one host see each other's beats in shared memory.
TEST_F(SilentEnds, LostDatagramsOnAHostAreNoFrozenRank) {
  const TinyRun run(work_ / "run", kEndless);
  const std::filesystem::path lost = work_ / "lost";
  Job job(run.train_command(watched({"checkpoint.every=100000"})),
          ranks(2, broken_system("ROSA_TEST_LOST_DATAGRAMS", lost.string())));
  ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
  std::ofstream(lost).flush();
  std::this_thread::sleep_for(Seconds(5));  // a silence of two would have been enough
  job.send_signal_to_rank(1, SIGUSR1);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitStopped) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("saved step"), Not(HasSubstr("frozen")), Not(HasSubstr("is gone"))));
}

TEST_F(SilentEnds, AFrozenRankIsSeenAlsoWhereDatagramsAreLost) {
  const TinyRun run(work_ / "run", kEndless);
  const std::filesystem::path lost = work_ / "lost";
  Job job(run.train_command(watched()), ranks(2, broken_system("ROSA_TEST_LOST_DATAGRAMS", lost.string())));
  ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
  std::ofstream(lost).flush();
  std::this_thread::sleep_for(Seconds(3));
  job.send_signal_to_rank(1, SIGSTOP);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitWatchdog) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("rank 1 on [^ ]+ \\(process [0-9]+\\) is frozen"));
}

TEST_F(SilentEnds, WithoutThreadsThereIsAMessageAndAnExitCode) {
  int num_refused = 0;
  for (int max_threads = 0; max_threads < 12; ++max_threads) {
    for (const int num_ranks : {0, 2}) {
      SCOPED_TRACE(::testing::Message() << max_threads << " threads, " << num_ranks << " ranks");
      const TinyRun run(work_ / ("run" + std::to_string(max_threads) + "_" + std::to_string(num_ranks)), 2);
      const JobResult result = run_job(
          run.train_command(), ranks(num_ranks, broken_system("ROSA_TEST_MAX_THREADS", std::to_string(max_threads))));
      EXPECT_FALSE(result.timed_out);
      EXPECT_LT(result.exit_code, 128) << result.output;
      EXPECT_THAT(result.output, Not(HasSubstr("terminate called")));
      if (result.exit_code != 0 && num_ranks == 0) {
        EXPECT_THAT(result.output, ContainsRegex("rosa: .*thread"));
      }
      if (result.exit_code != 0) ++num_refused;
    }
  }
  EXPECT_GT(num_refused, 0) << "the limit had no effect";
}

}  // namespace
}  // namespace rosa::testing
