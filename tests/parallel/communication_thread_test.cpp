// The thread that sends gradients beside the backward: order, waiting, errors and its end. Runs under ThreadSanitizer.
#include "parallel/communication_thread.h"

#include <gtest/gtest.h>

#include <latch>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"

namespace rosa::parallel {
namespace {

TEST(CommunicationThread, RunsJobsInOrderAndWaitSeesWhatTheyWrote) {
  CommunicationThread thread;
  std::vector<int> order;  // not guarded: wait() is what makes it visible
  for (int round = 0; round < 50; ++round) {
    order.clear();
    for (int job = 0; job < 20; ++job) thread.submit([&order, job] { order.push_back(job); });
    thread.wait();
    ASSERT_EQ(order.size(), 20u);
    for (int job = 0; job < 20; ++job) EXPECT_EQ(order[static_cast<size_t>(job)], job);
  }
}

TEST(CommunicationThread, RunsBesideTheSubmittingThread) {
  CommunicationThread thread;
  std::latch computed(1), begun(1);
  thread.submit([&] {
    begun.count_down();
    computed.wait();
  });
  begun.wait();           // the job is under way ...
  computed.count_down();  // ... while this thread computes
  thread.wait();
}

TEST(CommunicationThread, AJobForLaterIsLeftToWaitUnlessTheThreadIsUp) {
  const auto this_thread = std::this_thread::get_id();
  CommunicationThread thread;
  std::vector<std::thread::id> ran_on;
  const auto job = [&] { ran_on.push_back(std::this_thread::get_id()); };
  thread.submit(job, CommunicationThread::Start::later);
  thread.wait();
  EXPECT_EQ(ran_on, (std::vector{this_thread}));

  ran_on.clear();
  std::latch begun(1);
  thread.submit([&] {
    begun.count_down();
    job();
  });
  begun.wait();  // the thread is up, and looks for more when it is done
  thread.submit(job, CommunicationThread::Start::later);
  thread.submit(job, CommunicationThread::Start::later);
  thread.wait();
  EXPECT_EQ(ran_on.size(), 3u);
  EXPECT_NE(ran_on.front(), this_thread);
}

TEST(CommunicationThread, PollsUntilDoneAwaitedOrNot) {
  CommunicationThread thread;
  std::atomic<int> remaining = 20;
  thread.submit([&] { thread.poll([&] { return --remaining <= 0; }); });
  thread.submit([&] { thread.poll([] { return true; }); });
  thread.wait();
  EXPECT_LE(remaining, 0);
}

TEST(CommunicationThread, AnErrorSurfacesInEveryWaitAndEndsTheQueue) {
  CommunicationThread thread;
  std::latch queued(1);
  bool later_ran = false;
  thread.submit([&] {
    queued.wait();
    throw base::DataError("broken wire");
  });
  thread.submit([&] { later_ran = true; });
  queued.count_down();
  EXPECT_THROW(thread.wait(), base::DataError);
  thread.submit([&] { later_ran = true; });
  EXPECT_THROW(thread.wait(), base::DataError);
  EXPECT_FALSE(later_ran);
}

TEST(CommunicationThread, EndsWhileAJobPollsForWhatNeverComes) {
  bool later_ran = false;
  std::latch polling(1);
  {
    CommunicationThread thread;
    thread.submit([&] {
      thread.poll([&, first = true]() mutable {
        if (first) polling.count_down();
        first = false;
        return false;
      });
    });
    thread.submit([&] { later_ran = true; });
    polling.wait();
  }
  EXPECT_FALSE(later_ran);
}

TEST(CommunicationThread, LetsGoOfWhatAJobHolds) {
  CommunicationThread thread;
  const auto held = std::make_shared<int>(0);
  thread.submit([held] {});
  thread.wait();
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace rosa::parallel
