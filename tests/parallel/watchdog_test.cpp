// Who is to blame, from what is known of the ranks; and watchdogs that talk to each other in one process.
#include "parallel/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "parallel/thread_communicator.h"

namespace rosa::parallel {
namespace {

using base::Phase;
using std::chrono::duration;
using std::chrono::duration_cast;

constexpr WatchdogConfig kConfig{.heartbeat_s = 1.0, .hang_after_heartbeats = 10};

class DiagnoseTest : public ::testing::Test {
 protected:
  // Three ranks at work, heard of just now.
  DiagnoseTest() {
    for (RankView& view : ranks_) {
      view.heard = true;
      view.last_heard = view.last_progress = now_;
      view.activity.step = 3;
      view.activity.phase = Phase::backward;
    }
  }
  void wait_in(int rank, const char* collective, int64_t number) {
    base::Activity& activity = ranks_[rank].activity;
    activity.waits = true;
    std::strcpy(activity.collective, collective);
    activity.sequence_number = number;
  }
  WatchTime ago(double seconds) const {
    return now_ - duration_cast<std::chrono::steady_clock::duration>(duration<double>(seconds));
  }
  void expect(Trouble trouble, const std::vector<int>& culprits) const {
    const Diagnosis found = diagnose(ranks_, now_, kConfig);
    EXPECT_EQ(found.trouble, trouble);
    EXPECT_EQ(found.culprits, culprits);
  }

  const WatchTime now_ = std::chrono::steady_clock::now();
  std::vector<RankView> ranks_ = std::vector<RankView>(3);
};

TEST_F(DiagnoseTest, RanksAtWorkAreNoTrouble) {
  expect(Trouble::none, {});
  ranks_[1].last_heard = ago(1.9);
  ranks_[2].last_progress = ago(9.0);
  expect(Trouble::none, {});
}

TEST_F(DiagnoseTest, TheSilentRankIsFrozenNotThoseThatWaitForIt) {
  for (const int victim : {0, 1}) {
    wait_in(victim, "all_reduce", 9);
    ranks_[victim].last_progress = ago(100);
  }
  ranks_[2].last_heard = ranks_[2].last_progress = ago(2.1);
  expect(Trouble::frozen, {2});
}

TEST_F(DiagnoseTest, ARankNeverHeardOfIsNotFrozen) {
  ranks_[2].heard = false;
  ranks_[2].last_heard = ranks_[2].last_progress = {};
  expect(Trouble::none, {});
}

TEST_F(DiagnoseTest, AGoneRankIsKilledUnlessItSaidFarewell) {
  ranks_[1].gone = true;
  ranks_[2].last_heard = ago(5);
  expect(Trouble::killed, {1});
  ranks_[1].finished = ranks_[2].finished = true;
  expect(Trouble::none, {});
}

TEST_F(DiagnoseTest, TheRankThatWorksWithoutProgressHangs) {
  for (RankView& view : ranks_) view.last_progress = ago(10.1);
  wait_in(0, "all_reduce", 9);
  wait_in(1, "all_reduce", 9);
  expect(Trouble::hangs, {2});
  for (const Phase phase : {Phase::starting, Phase::ending}) {  // blocked for ever, reading or writing
    ranks_[2].activity.phase = phase;
    expect(Trouble::hangs, {2});
  }
  ranks_[2].activity.phase = Phase::left;
  expect(Trouble::none, {});
}

TEST_F(DiagnoseTest, AllWaitInDifferentCollectivesOrInTheSame) {
  for (int rank = 0; rank < 3; ++rank) {
    ranks_[rank].last_progress = ago(11);
    wait_in(rank, "all_reduce", rank == 1 ? 8 : 9);
  }
  expect(Trouble::mismatch, {1});
  wait_in(1, "broadcast", 9);
  EXPECT_EQ(diagnose(ranks_, now_, kConfig).trouble, Trouble::mismatch);
  wait_in(1, "all_reduce", 9);
  expect(Trouble::blocked, {0, 1, 2});
}

TEST_F(DiagnoseTest, NumbersAreComparedWithinAGroup) {
  const auto wait_in_group = [this](int rank, const char* group, int64_t number) {
    wait_in(rank, "all_gather", number);
    std::strcpy(ranks_[rank].activity.group, group);
    ranks_[rank].last_progress = ago(11);
  };
  wait_in_group(0, "", 900);
  wait_in_group(1, "node 1", 8);
  wait_in_group(2, "node 1", 8);
  expect(Trouble::blocked, {0, 1, 2});
  wait_in_group(2, "node 1", 7);
  expect(Trouble::mismatch, {2});
  ranks_[2].finished = true;
  expect(Trouble::blocked, {0, 1});
}

TEST_F(DiagnoseTest, WhoeverTheOthersWaitForHoldsThemUp) {
  ranks_[1].holding_share = 0.9;
  expect(Trouble::holds_up, {1});
}

// What watchdogs of several ranks, threads of this process, have said.
struct Said {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> verdicts, stragglers;
  int num_stacks = 0, num_ends = 0;

  template <class Change>
  void add(Change change) {
    const std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
  template <class Condition>
  bool wait_for(Condition condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(60), condition);
  }
};

Watchdog::Options options_of(Said& said, int rank, std::function<base::Activity()> activity) {
  Watchdog::Options options;
  options.config = {.heartbeat_s = 0.2, .hang_after_heartbeats = 5};
  options.host_name = "host" + std::to_string(rank);
  options.activity = std::move(activity);
  options.on_verdict = [&said, rank](Trouble, const std::string& text) {
    said.add([&] { said.verdicts.push_back(std::to_string(rank) + ": " + text); });
  };
  options.on_straggler = [&said](const std::string& text) { said.add([&] { said.stragglers.push_back(text); }); };
  options.write_stacks = [&said](const std::string&) { said.add([&] { ++said.num_stacks; }); };
  options.on_end_of_job = [&said] { said.add([&] { ++said.num_ends; }); };
  return options;
}

TEST(Watchdog, NamesTheRankThatHangsOnceForAll) {
  Said said;
  run_on_thread_ranks(3, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    const Watchdog watchdog(communicator, options_of(said, rank, [rank] {
                              base::Activity activity;
                              activity.step = 4;
                              activity.phase = Phase::data;
                              activity.waits = rank != 1;
                              return activity;
                            }));
    EXPECT_TRUE(said.wait_for([&] { return !said.verdicts.empty() && said.num_ends == 2 && said.num_stacks >= 3; }));
    communicator.barrier();
  });
  ASSERT_EQ(said.verdicts.size(), 1u);
  EXPECT_THAT(said.verdicts[0], ::testing::StartsWith("0: rank 1 on host1 (process "));
  EXPECT_THAT(said.verdicts[0], ::testing::HasSubstr("hangs"));
  EXPECT_THAT(said.verdicts[0], ::testing::HasSubstr("step 4, phase data"));
  ASSERT_EQ(said.stragglers.size(), 1u) << "named before, as slow";
  EXPECT_THAT(said.stragglers[0], ::testing::StartsWith("rank 1 on host1"));
}

TEST(Watchdog, ASlowRankIsNotNamedAgainWhenTheRankThatNamedItLeaves) {
  Said said;
  run_on_thread_ranks(3, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    std::atomic<int64_t> progress{0};
    auto watchdog = std::make_unique<Watchdog>(communicator, options_of(said, rank, [rank, &progress] {
                                                 base::Activity activity;
                                                 activity.step = 4;
                                                 activity.phase = Phase::data;
                                                 activity.progress = progress++;
                                                 activity.waits = rank != 1;
                                                 return activity;
                                               }));
    EXPECT_TRUE(said.wait_for([&] { return said.stragglers.size() == 1 && said.num_stacks == 1; }));
    std::this_thread::sleep_for(duration<double>(0.5));
    communicator.barrier();
    if (rank == 0) watchdog.reset();
    std::this_thread::sleep_for(duration<double>(1.0));
    communicator.barrier();
  });
  EXPECT_THAT(said.stragglers, ::testing::SizeIs(1));
  EXPECT_EQ(said.num_stacks, 1);
}

TEST(Watchdog, ALeavingRankIsNoNewsAndAFailingOneIsHeardOf) {
  Said said;
  run_on_thread_ranks(3, [&](Communicator& communicator) {
    std::atomic<int64_t> progress{0};
    auto watchdog = std::make_unique<Watchdog>(communicator, options_of(said, communicator.rank(), [&progress] {
                                                 base::Activity activity;
                                                 activity.step = 1;
                                                 activity.progress = progress++;
                                                 return activity;
                                               }));
    std::this_thread::sleep_for(duration<double>(0.5));
    communicator.barrier();
    if (communicator.rank() == 1) watchdog.reset();
    std::this_thread::sleep_for(duration<double>(1.0));
    communicator.barrier();
    EXPECT_TRUE(said.verdicts.empty());
    EXPECT_EQ(said.num_ends, 0);
    communicator.barrier();
    if (communicator.rank() == 2) {
      try {
        const std::unique_ptr<Watchdog> unwound = std::move(watchdog);
        throw std::runtime_error("an error");
      } catch (const std::runtime_error&) {
      }
    }
    if (communicator.rank() == 0) {
      EXPECT_TRUE(said.wait_for([&] { return said.num_ends == 1; }));
    }
    communicator.barrier();
  });
  EXPECT_TRUE(said.verdicts.empty());
}

}  // namespace
}  // namespace rosa::parallel
