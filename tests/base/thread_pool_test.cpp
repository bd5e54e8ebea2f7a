#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <latch>
#include <stdexcept>
#include <vector>

#include "base/error.h"

namespace rosa::base {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.num_threads(), threads);
    for (const int64_t count : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> calls(count);
      pool.parallel_for(count, [&](int64_t index) { ++calls[index]; });
      for (const auto& number : calls) EXPECT_EQ(number, 1);
    }
  }
}

TEST(ThreadPool, ExceptionsSurface) {
  ThreadPool pool(3);
  std::future<void> failed = pool.submit([] { throw std::runtime_error("in a task"); });
  EXPECT_THROW(failed.get(), std::runtime_error);
  EXPECT_THROW(pool.parallel_for(100, [](int64_t index) { require(index != 42, "index 42"); }), ArgumentError);
  std::atomic<int> calls{0};
  pool.parallel_for(10, [&](int64_t) { ++calls; });
  EXPECT_EQ(calls, 10);
}

TEST(ThreadPool, TasksOfSeveralThreadsAreInFlightTogether) {
  ThreadPool pool(2);
  std::latch both(2);
  auto first = pool.submit([&] { both.arrive_and_wait(); });
  auto second = pool.submit([&] { both.arrive_and_wait(); });
  first.get();
  second.get();
}

TEST(ThreadPool, KnowsItsWorkers) {
  ThreadPool pool(2), other(1);
  EXPECT_EQ(pool.worker_index(), -1);
  pool.submit([&] {
        EXPECT_GE(pool.worker_index(), 0);
        EXPECT_LT(pool.worker_index(), 2);
        EXPECT_EQ(other.worker_index(), -1);
        EXPECT_THROW(pool.parallel_for(2, [](int64_t) {}), ArgumentError);
      })
      .get();
  EXPECT_THROW(ThreadPool(0), ArgumentError);
}

// Sanitizers take all memory there is for themselves.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void start_more_threads_than_fit() {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlim_t limit = static_cast<rlim_t>(pages) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + (64U << 20);
  const rlimit memory{limit, limit};
  setrlimit(RLIMIT_AS, &memory);  // the stacks of some threads fit, not of a thousand
  try {
    const ThreadPool pool(1000, "automaton");
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(0);
  }
  std::_Exit(1);
}

TEST(ThreadPool, NoMoreThreadsIsAnErrorThatSaysWhatToDo) {
  EXPECT_EXIT(start_more_threads_than_fit(), ::testing::ExitedWithCode(0),
              "no thread for automaton [0-9]+ .*ulimit -u");
}
#endif

TEST(ThreadPool, FinishesWhatIsQueued) {
  std::atomic<int> calls{0};
  {
    ThreadPool pool(1);
    for (int i = 0; i < 100; ++i) pool.submit([&] { ++calls; });
  }
  EXPECT_EQ(calls, 100);
}

}  // namespace
}  // namespace rosa::base
