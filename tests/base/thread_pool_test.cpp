#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
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
