// main() of GoogleTest programs that run under mpirun. Every rank prints its failures; the exit code is the largest of
// all ranks; a test that fails on one rank while the others wait in it ends the job instead of hanging.
// ROSA_TEST_DEADLINE_S (default 20): how long a rank whose test failed fatally waits for the others to end it.
#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

constexpr int kAbortExitCode = 86;

int deadline_seconds() {
  const char* text = std::getenv("ROSA_TEST_DEADLINE_S");
  return text != nullptr ? std::atoi(text) : 20;
}

// The maximum of `value` over ranks. Ends the job when the others do not come within the deadline (0: no deadline).
int max_over_ranks(MPI_Comm comm, int value, int deadline, const char* test) {
  int result = value;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Iallreduce(&value, &result, 1, MPI_INT, MPI_MAX, comm, &request);
  const auto start = std::chrono::steady_clock::now();
  int done = 0;
  while (MPI_Test(&request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (deadline > 0 && std::chrono::steady_clock::now() - start > std::chrono::seconds(deadline)) {
      std::fprintf(stderr, "%s failed on this rank and the others did not end it within %d s: ending the job\n", test,
                   deadline);
      std::fflush(nullptr);
      MPI_Abort(comm, kAbortExitCode);
    }
  }
  return result;
}

class RankListener final : public testing::EmptyTestEventListener {
 public:
  RankListener(MPI_Comm comm, int rank) : comm_(comm), rank_(rank) {}

 private:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed() || rank_ == 0) return;  // rank 0 has GoogleTest's own printer
    std::fprintf(stderr, "[rank %d] %s:%d: Failure\n%s\n", rank_, result.file_name() ? result.file_name() : "unknown",
                 result.line_number(), result.message());
    std::fflush(stderr);
  }

  void OnTestEnd(const testing::TestInfo& test) override {
    const bool fatal = test.result()->HasFatalFailure();
    const bool failed = test.result()->Failed();
    const int worst = max_over_ranks(comm_, failed ? 1 : 0, fatal ? deadline_seconds() : 0, test.name());
    if (failed) std::fprintf(stderr, "[rank %d] %s.%s failed\n", rank_, test.test_suite_name(), test.name());
    if (worst != 0 && !failed && rank_ == 0) {
      std::fprintf(stderr, "[rank 0] %s.%s failed on another rank\n", test.test_suite_name(), test.name());
    }
  }

  MPI_Comm comm_;
  int rank_;
};

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  testing::InitGoogleTest(&argc, argv);
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  int rank = 0;
  MPI_Comm_rank(comm, &rank);

  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new RankListener(comm, rank));

  const int own = RUN_ALL_TESTS();
  const int worst = max_over_ranks(comm, own, 0, "the program");
  MPI_Comm_free(&comm);
  MPI_Finalize();
  return worst;
}
