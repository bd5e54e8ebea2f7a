// Whole jobs in which a rank fails: who is named, by whom, with which exit code, and that nobody is left behind.
// Faults come from ROSA_FAULT (docs/testing.md). Deadlines are those of the harness: ten times generous.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"

namespace rosa::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr int kExitData = 3, kExitConfiguration = 2, kExitWatchdog = 8, kExitStopped = 75;
constexpr int kEndless = 100000;  // steps: only the fault ends the run

class RankFailures : public ::testing::Test {
 protected:
  // The heartbeat is long enough for a busy machine and short enough for a test.
  static std::vector<std::string> watched(std::vector<std::string> overrides = {}) {
    overrides.emplace_back("failures.heartbeat_s=1");
    overrides.emplace_back("failures.hang_after_heartbeats=4");
    return overrides;
  }

  static JobOptions with_fault(int num_ranks, const std::string& fault) {
    // --quiet: mpirun adds nothing of its own.
    return {.num_ranks = num_ranks, .launcher_options = {"--quiet"}, .environment = {{"ROSA_FAULT", fault}}};
  }

  const TemporaryFolder work_;
};

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

TEST_F(RankFailures, AnErrorOnAnyRankIsToldOnceAndLast) {
  for (const int rank : {0, 1, 2}) {
    SCOPED_TRACE(rank);
    const TinyRun run(work_ / ("throw_" + std::to_string(rank)), kEndless);
    const std::string fault = "do=throw step=2 phase=backward rank=" + std::to_string(rank);
    const JobResult result = run_job(run.train_command({"train.micro_batches=6"}), with_fault(3, fault));
    EXPECT_EQ(result.exit_code, kExitData) << result.output;
    EXPECT_EQ(count(result.output, "a fault on purpose"), 1) << result.output;
    EXPECT_THAT(last_line(result.output), HasSubstr("rosa: rank " + std::to_string(rank) + " on "));
    EXPECT_EQ(count(result.output, "rosa: "), 1) << "one rank speaks\n" << result.output;
    EXPECT_THAT(last_line(run.log(rank)), HasSubstr("a fault on purpose"));
    for (int other = 0; other < 3; ++other) {
      EXPECT_EQ(count(run.log(other), "a fault on purpose"), other == rank ? 1 : 0) << other;
    }
    EXPECT_THAT(result.orphans, IsEmpty());
  }
}

TEST_F(RankFailures, AnErrorOnAllRanksIsToldByOne) {
  const TinyRun run(work_ / "run", 4);
  const JobResult started = run_job(run.train_command({"train.micro_batches=5"}), {.num_ranks = 3});
  EXPECT_EQ(started.exit_code, kExitConfiguration);
  EXPECT_EQ(count(started.output, "rosa: rank "), 1) << started.output;
  const JobResult before_mpi = run_job(run.train_command({"no.such=1"}), {.num_ranks = 3});
  EXPECT_EQ(before_mpi.exit_code, kExitConfiguration);
  EXPECT_EQ(count(before_mpi.output, "rosa: rank "), 1) << before_mpi.output;
}

TEST_F(RankFailures, AKilledRankIsNamed) {
  const TinyRun run(work_ / "run", kEndless);
  const JobResult result = run_job(run.train_command(watched({"train.micro_batches=6"})),
                                   with_fault(3, "do=kill rank=2 step=3 phase=student_forward"));
  // Either mpirun sees the signal first, or the watchdog.
  EXPECT_THAT(result.exit_code, ::testing::AnyOf(128 + SIGKILL, kExitWatchdog)) << result.output;
  EXPECT_THAT(result.output, AllOf(ContainsRegex("rank 2 on [^ ]+ \\(process [0-9]+\\) is gone"),
                                   HasSubstr("step 3, phase student forward, in no collective")));
  EXPECT_EQ(count(result.output, "rosa: rank "), 1) << result.output;
  EXPECT_THAT(result.orphans, IsEmpty());
}

TEST_F(RankFailures, ARankKilledWhileTheOthersGatherLayersIsNamedOnce) {
  const TinyRun run(work_ / "run", kEndless, "parallel: {shard_base: all}\n");
  const JobResult result = run_job(run.train_command(watched({"train.micro_batches=6"})),
                                   with_fault(3, "do=kill rank=2 step=3 phase=teacher_forward"));
  EXPECT_THAT(result.exit_code, ::testing::AnyOf(128 + SIGKILL, kExitWatchdog)) << result.output;
  EXPECT_THAT(result.output, AllOf(ContainsRegex("rank 2 on [^ ]+ \\(process [0-9]+\\) is gone"),
                                   HasSubstr("step 3, phase teacher forward, in no collective")));
  EXPECT_EQ(count(result.output, "rosa: rank "), 1) << result.output;
  EXPECT_THAT(result.orphans, IsEmpty());
}

TEST_F(RankFailures, AFrozenRankIsNamedAndEnded) {
  for (const int rank : {0, 1}) {
    SCOPED_TRACE(rank);
    const TinyRun run(work_ / ("stop_" + std::to_string(rank)), kEndless);
    const JobResult result = run_job(run.train_command(watched()),
                                     with_fault(2, "do=stop step=3 phase=backward rank=" + std::to_string(rank)));
    EXPECT_EQ(result.exit_code, kExitWatchdog) << result.output;
    EXPECT_THAT(last_line(result.output),
                AllOf(HasSubstr("rosa: rank " + std::to_string(1 - rank)),
                      ContainsRegex("rank " + std::to_string(rank) + " on [^ ]+ \\(process [0-9]+\\) is frozen"),
                      HasSubstr("step 3, phase backward, in no collective"), HasSubstr("Stack traces: ")));
    EXPECT_EQ(count(result.output, "is frozen"), 1) << "the victim is no culprit\n" << result.output;
    EXPECT_THAT(text_of_file(run.folder() / "logs" / ("rank_000" + std::to_string(1 - rank) + ".stacks.txt")),
                AllOf(HasSubstr("is frozen"), HasSubstr("thread "), HasSubstr("#0 ")));
    EXPECT_THAT(result.orphans, IsEmpty());
  }
}

TEST_F(RankFailures, ARankFrozenFromOutsideIsEnded) {
  const TinyRun run(work_ / "run", kEndless);
  Job job(run.train_command(watched()), {.num_ranks = 2});
  ASSERT_TRUE(job.wait_for_path(run.checkpoint(2))) << job.output();
  job.send_signal_to_rank(1, SIGSTOP);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitWatchdog) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("rank 1 on [^ ]+ \\(process [0-9]+\\) is frozen"));
  EXPECT_THAT(result.orphans, IsEmpty());
}

// Where no other rank can see it, its guardian does.
TEST_F(RankFailures, ARankThatIsFrozenOutOfTheOthersSightIsEnded) {
  for (const auto& [num_ranks, where] : {std::pair(1, "step=1 phase=backward"), std::pair(2, "step=0- phase=left")}) {
    SCOPED_TRACE(where);
    const TinyRun run(work_ / ("stop_" + std::to_string(num_ranks)), 4);
    const std::string rank = std::to_string(num_ranks - 1);
    const JobResult result =
        run_job(run.train_command(watched()), with_fault(num_ranks, "do=stop rank=" + rank + " " + where));
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.output;
    EXPECT_THAT(result.output, ContainsRegex("rosa: rank " + rank + " on [^ ]+ \\(process [0-9]+\\) has been stopped"));
    EXPECT_EQ(std::filesystem::exists(run.checkpoint(4)), num_ranks == 2);
    EXPECT_THAT(result.orphans, IsEmpty());
  }
}

TEST_F(RankFailures, ARankThatDoesNotEndIsEnded) {
  const TinyRun run(work_ / "run", 4);
  const JobResult result = run_job(run.train_command(watched()), with_fault(2, "do=loop rank=0 step=0- phase=left"));
  EXPECT_EQ(result.exit_code, 128 + SIGKILL) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("rosa: rank 0 on [^ ]+ \\(process [0-9]+\\) has been ending"));
  EXPECT_THAT(result.orphans, IsEmpty());
}

TEST_F(RankFailures, AnEndlessLoopInTheLoaderIsEnded) {
  for (const int num_ranks : {1, 3}) {
    SCOPED_TRACE(num_ranks);
    const TinyRun run(work_ / ("loop_" + std::to_string(num_ranks)), kEndless);
    const std::string rank = std::to_string(num_ranks - 1);
    const JobResult result = run_job(run.train_command(watched({"train.micro_batches=6"})),
                                     with_fault(num_ranks, "do=loop step=2 phase=data rank=" + rank));
    EXPECT_EQ(result.exit_code, kExitWatchdog) << result.output;
    EXPECT_THAT(last_line(result.output), AllOf(ContainsRegex("rank " + rank + " on [^ ]+ \\(process [0-9]+\\) hangs"),
                                                HasSubstr("step 2, phase data, in no collective")));
    EXPECT_EQ(count(result.output, " hangs"), 1) << result.output;
    EXPECT_THAT(text_of_file(run.folder() / "logs" / ("rank_000" + rank + ".stacks.txt")),
                HasSubstr("Trainer::load_micro_batches"));
    EXPECT_THAT(result.orphans, IsEmpty());
  }
}

TEST_F(RankFailures, AnEndlessLoopInAnAutomatonThreadIsEnded) {
  const TinyRun run(work_ / "run", kEndless);
  const JobResult result = run_job(run.train_command(watched()), with_fault(2, "do=automaton_loop step=2 rank=1"));
  EXPECT_EQ(result.exit_code, kExitWatchdog) << result.output;
  EXPECT_THAT(last_line(result.output), AllOf(ContainsRegex("rank 1 on [^ ]+ \\(process [0-9]+\\) hangs"),
                                              HasSubstr("step 2, phase student forward")));
  EXPECT_THAT(text_of_file(run.folder() / "logs" / "rank_0001.stacks.txt"), HasSubstr("HostExecutor"));
  EXPECT_THAT(result.orphans, IsEmpty());
}

TEST_F(RankFailures, ASlowRankIsNamedAndTheRunGoesOn) {
  const TinyRun run(work_ / "run", 4);
  const JobResult result =
      run_job(run.train_command({"failures.heartbeat_s=0.5", "failures.hang_after_heartbeats=100"}),
              with_fault(2, "do=sleep seconds=3 step=2 phase=data rank=1"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, ContainsRegex("rank 1 on [^ ]+ \\(process [0-9]+\\) is slow, the others wait for it: step "
                                           "2, phase data, in no collective"));
  EXPECT_THAT(result.output, Not(ContainsRegex("rank 0 on [^ ]+ \\(process [0-9]+\\) is slow")));
  EXPECT_THAT(text_of_file(run.folder() / "logs" / "rank_0001.stacks.txt"), HasSubstr("load_micro_batches"));
}

TEST_F(RankFailures, WithoutAWatchdogNothingIsWatched) {
  const TinyRun run(work_ / "run", 3);
  const JobResult result = run_job(run.train_command({"failures.heartbeat_s=0"}),
                                   with_fault(2, "do=sleep seconds=2 step=1 phase=data rank=1"));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, Not(HasSubstr("is slow")));
}

TEST_F(RankFailures, ASignalToAnyRankStopsAllAfterTheSameStep) {
  for (const char* signal : {"usr1", "term", "int"}) {
    for (const int rank : {0, 1}) {
      SCOPED_TRACE(::testing::Message() << signal << " to rank " << rank);
      const TinyRun run(work_ / (signal + std::to_string(rank)), kEndless);
      const JobResult result =
          run_job(run.train_command({"checkpoint.every=100000"}),
                  with_fault(2, std::string("do=") + signal + " step=3 phase=data rank=" + std::to_string(rank)));
      EXPECT_EQ(result.exit_code, kExitStopped) << result.output;
      EXPECT_THAT(result.output, HasSubstr("saved step 4"));
      EXPECT_EQ(count(result.output, "saved step"), 1) << result.output;
      EXPECT_TRUE(std::filesystem::exists(run.checkpoint(4)));
      EXPECT_THAT(result.orphans, IsEmpty());
    }
  }
}

TEST_F(RankFailures, Usr1ToTheLauncherAndAgainStopsOnce) {
  const TinyRun run(work_ / "run", kEndless);
  Job job(run.train_command({"checkpoint.every=100000"}), {.num_ranks = 2});
  ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
  for (int time = 0; time < 3; ++time) job.send_signal(SIGUSR1);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitStopped) << result.output;
  EXPECT_EQ(count(result.output, "saved step"), 1) << result.output;
}

// mpirun sends TERM to the ranks after this many seconds, and KILL after as many more; its own exit code is then 1.
TEST_F(RankFailures, TermToTheLauncherLeavesTimeToSave) {
  for (const int signal : {SIGTERM, SIGINT}) {
    SCOPED_TRACE(signal);
    const TinyRun run(work_ / ("term" + std::to_string(signal)), kEndless);
    Job job(run.train_command({"checkpoint.every=100000"}),
            {.num_ranks = 2, .launcher_options = {"--mca", "odls_base_sigkill_timeout", "2"}});
    ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
    job.send_signal(signal);
    const JobResult result = job.wait();
    EXPECT_NE(result.exit_code, 0);
    EXPECT_FALSE(result.timed_out);
    EXPECT_EQ(count(result.output, "saved step"), 1) << result.output;
    EXPECT_THAT(result.orphans, IsEmpty());
    const JobResult again = run_job(run.train_command({"checkpoint.every=100000", "train.num_steps=100000"}),
                                    with_fault(2, "do=usr1 step=0- phase=data rank=0"));
    EXPECT_EQ(again.exit_code, kExitStopped);
    EXPECT_THAT(again.output, HasSubstr("resumed ")) << again.output;
  }
}

TEST_F(RankFailures, ASecondInterruptEndsAtOnce) {
  const TinyRun run(work_ / "run", kEndless);
  // The rank sleeps in the step and can't come to its end.
  Job job(run.train_command(), {.environment = {{"ROSA_FAULT", "do=sleep seconds=1000 step=1 phase=data"}}});
  ASSERT_TRUE(job.wait_for_output("loss")) << job.output();
  job.send_signal(SIGINT);
  std::this_thread::sleep_for(Seconds(0.5));
  EXPECT_EQ(kill(job.pid(), 0), 0) << "the first only asks";
  job.send_signal(SIGINT);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, 128 + SIGINT);
  EXPECT_FALSE(result.timed_out);
}

TEST_F(RankFailures, AFaultThatIsNotUnderstoodIsRefused) {
  const TinyRun run(work_ / "run", 2);
  const JobResult result = run_job(run.train_command(), {.environment = {{"ROSA_FAULT", "do=dance rank=0"}}});
  EXPECT_EQ(result.exit_code, kExitConfiguration);
  EXPECT_THAT(result.output, HasSubstr("do=dance"));
}

}  // namespace
}  // namespace rosa::testing
