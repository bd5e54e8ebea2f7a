// How whole MPI jobs end when one rank fails: with its message, its exit code and within a deadline.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

namespace {

using testing::HasSubstr;
using testing::Not;

// Ten times what it takes on a busy machine; 137 is what `timeout -s KILL` gives when it strikes.
constexpr int kDeadlineSeconds = 100;
constexpr int kTimedOut = 137;

struct Job {
  int exit_code = 0;
  std::string output;
};

Job run(int num_ranks, const std::string& program) {
  const std::string command = "ROSA_TEST_DEADLINE_S=2 timeout -s KILL " + std::to_string(kDeadlineSeconds) + " " +
                              ROSA_MPIEXEC + " --allow-run-as-root --oversubscribe --bind-to none" +
                              " --mca mpi_yield_when_idle 1 -np " + std::to_string(num_ranks) + " " + program +
                              " 2>&1 </dev/null";
  Job job;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen failed: " + command);
  std::array<char, 4096> buffer;
  while (const size_t size = fread(buffer.data(), 1, buffer.size(), pipe)) job.output.append(buffer.data(), size);
  const int status = pclose(pipe);
  job.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return job;
}

Job run_probe(const std::string& test) { return run(3, std::string(ROSA_MPI_MAIN_PROBE) + " --gtest_filter=" + test); }

TEST(MpiMain, PassesWhenAllPass) { EXPECT_EQ(run_probe("Probe.Passes").exit_code, 0); }

TEST(MpiMain, FailureOnOneRankIsPrintedAndCounts) {
  const Job job = run_probe("Probe.FailsOnRankOne:Probe.Passes");
  EXPECT_EQ(job.exit_code, 1);
  EXPECT_THAT(job.output, HasSubstr("[rank 1]"));
  EXPECT_THAT(job.output, HasSubstr("seen on rank one"));
  EXPECT_THAT(job.output, HasSubstr("failed on another rank"));
}

TEST(MpiMain, FatalFailureOnEveryRankGoesOn) {
  const Job job = run_probe("Probe.FatalOnEveryRank:Probe.Passes");
  EXPECT_EQ(job.exit_code, 1);
  EXPECT_THAT(job.output, HasSubstr("from 1 test suite ran"));
}

TEST(MpiMain, FatalFailureOnOneRankEndsTheJob) {
  const Job job = run_probe("Probe.FatalOnRankOneWhileOthersWait");
  EXPECT_NE(job.exit_code, 0);
  EXPECT_NE(job.exit_code, kTimedOut) << job.output;
  EXPECT_THAT(job.output, HasSubstr("rank one gives up"));
  EXPECT_THAT(job.output, HasSubstr("ending the job"));
}

TEST(MpiJob, RankThatThrowsEndsTheJobWithItsMessageAndExitCode) {
  const Job job = run(3, ROSA_MPI_ABORT_PROBE);
  EXPECT_EQ(job.exit_code, 3) << job.output;
  EXPECT_THAT(job.output, HasSubstr("token file is damaged"));
  EXPECT_THAT(job.output, Not(HasSubstr("not reached")));
}

TEST(MpiJob, AbortEndsTheJobWithItsMessageAndExitCode) {
  const Job job = run(2, std::string(ROSA_MPI_ABORT_PROBE) + " abort");
  EXPECT_EQ(job.exit_code, 3) << job.output;
  EXPECT_THAT(job.output, HasSubstr("rank 1 gives up"));
}

}  // namespace
