#include "base/work_stream.h"

#include <gtest/gtest.h>

#include <latch>
#include <vector>

namespace rosa::base {
namespace {

TEST(WorkStream, RunsInOrderAndLaunchReturnsAtOnce) {
  std::latch go(1);
  std::vector<int> order;
  WorkStream stream("test");
  stream.launch([&] { go.wait(); });
  for (int i = 0; i < 10; ++i) stream.launch([&order, i] { order.push_back(i); });
  const auto event = stream.record();
  EXPECT_FALSE(event->is_passed());
  go.count_down();
  event->wait();
  EXPECT_TRUE(event->is_passed());
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(WorkStream, OneStreamWaitsForAPlaceInAnother) {
  std::latch go(1);
  int value = 0;
  WorkStream first("first"), second("second");
  first.launch([&] {
    go.wait();
    value = 1;
  });
  const auto event = first.record();
  int seen = -1;
  second.block_until(event);
  second.launch([&] { seen = value; });
  go.count_down();
  second.synchronize();
  EXPECT_EQ(seen, 1);
}

TEST(WorkStream, TakesAtLeastTheTimeAskedForAndFinishesWhatIsQueued) {
  using namespace std::chrono_literals;
  WorkStream::EventPointer begin, end;
  bool is_done = false;
  {
    WorkStream stream("test");
    begin = stream.record();
    stream.launch([&] { is_done = true; }, 3ms);
    end = stream.record();
  }
  EXPECT_TRUE(is_done);
  EXPECT_GE(end->passed_at() - begin->passed_at(), 3ms);
}

}  // namespace
}  // namespace rosa::base
