#include "base/activity.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rosa::base {
namespace {

TEST(Activity, PhasesNestAndEverythingIsProgress) {
  begin_step(7);
  const int64_t before = current_activity().progress;
  {
    const PhaseScope outer(Phase::evaluation);
    {
      const PhaseScope inner(Phase::student_forward);
      EXPECT_EQ(current_activity().phase, Phase::student_forward);
    }
    EXPECT_EQ(current_activity().phase, Phase::evaluation);
  }
  EXPECT_EQ(current_activity().phase, Phase::between_steps);
  EXPECT_EQ(current_activity().step, 7);
  EXPECT_EQ(current_activity().progress, before + 4);
  note_progress();
  EXPECT_EQ(current_activity().progress, before + 5);
}

TEST(Activity, WhoWaitsIsTheTrainingThread) {
  begin_step(1);
  std::thread([] {
    const CollectiveScope beside("broadcast", 3);
    EXPECT_STREQ(current_activity().collective, "broadcast");
    EXPECT_FALSE(current_activity().waits) << "another thread's collective runs beside the training";
    const PhaseScope reduce(Phase::reduce);
    EXPECT_TRUE(current_activity().waits) << "while it reduces, the training waits for it";
  }).join();
  begin_step(2);
  const CollectiveScope own("all_reduce_of_a_very_long_name", 17);
  EXPECT_TRUE(current_activity().waits);
  EXPECT_EQ(describe(current_activity()),
            "step 2, phase between steps, in collective all_reduce_of_a_very_lo number 17");
}

TEST(Activity, NamesTheGroupOfRanks) {
  begin_step(2);
  {
    const CollectiveScope own("all_gather", 4, "node 1");
    EXPECT_STREQ(current_activity().group, "node 1");
    EXPECT_EQ(describe(current_activity()),
              "step 2, phase between steps, in collective all_gather number 4 of group node 1");
  }
  const CollectiveScope of_all("all_gather", 5);
  EXPECT_STREQ(current_activity().group, "");
}

TEST(Activity, MoreThreadsThanSlotsDoNoHarm) {
  std::vector<std::unique_ptr<CollectiveScope>> scopes;
  for (int index = 0; index < 100; ++index) scopes.push_back(std::make_unique<CollectiveScope>("barrier", index));
  scopes.clear();
  EXPECT_STREQ(current_activity().collective, "");
}

TEST(Activity, IsReadFromAProcessThatIsStoppedOrDead) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const int descriptor = share_activity();
    begin_step(5);
    const PhaseScope phase(Phase::backward);
    [[maybe_unused]] const ssize_t written = write(pipe_ends[1], &descriptor, sizeof(descriptor));
    raise(SIGSTOP);
    _exit(0);
  }
  int descriptor = -1;
  ASSERT_EQ(read(pipe_ends[0], &descriptor, sizeof(descriptor)), static_cast<ssize_t>(sizeof(descriptor)));
  const SharedActivity record(child, descriptor);
  waitpid(child, nullptr, WUNTRACED);
  for (const char* when : {"stopped", "dead"}) {
    SCOPED_TRACE(when);
    ASSERT_TRUE(record.read().has_value());
    EXPECT_EQ(record.read()->step, 5);
    EXPECT_EQ(record.read()->phase, Phase::backward);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  EXPECT_FALSE(SharedActivity(child, descriptor).read().has_value()) << "too late to look for it";
}

TEST(Activity, TheMainThreadsRunsAreProgressWhereThereAreNoPhases) {
  // In a process of its own, before its first step.
  EXPECT_EXIT(
      {
        share_activity();  // a record of its own
        std::mutex mutex;
        std::unique_lock lock(mutex);
        std::condition_variable goes_on;
        bool is_blocked = false;
        std::thread watch([&] {
          // Blocked as it is, the main thread soon stops to run.
          for (int64_t before = -1; current_activity().progress != before;) {
            before = current_activity().progress;
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
            note_progress_of_main_thread();
          }
          const std::lock_guard locked(mutex);
          is_blocked = true;
          goes_on.notify_all();
        });
        goes_on.wait(lock, [&] { return is_blocked; });
        watch.join();
        const int64_t before = current_activity().progress;
        note_progress_of_main_thread();  // it has run in between
        const bool ran = current_activity().progress > before;
        begin_step(0);
        const int64_t in_step = current_activity().progress;
        note_progress_of_main_thread();
        std::_Exit(ran && current_activity().progress == in_step ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(Activity, AnotherProcessSeesTheBeatsAndTheFarewell) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const int descriptor = share_activity();
    [[maybe_unused]] ssize_t written = write(pipe_ends[1], &descriptor, sizeof(descriptor));
    raise(SIGSTOP);
    note_beat();
    note_left(true);
    raise(SIGSTOP);
    _exit(0);
  }
  int descriptor = -1;
  ASSERT_EQ(read(pipe_ends[0], &descriptor, sizeof(descriptor)), static_cast<ssize_t>(sizeof(descriptor)));
  waitpid(child, nullptr, WUNTRACED);
  const SharedActivity record(child, descriptor);
  EXPECT_EQ(record.num_beats(), 0);
  EXPECT_FALSE(record.has_left());
  kill(child, SIGCONT);
  waitpid(child, nullptr, WUNTRACED);
  EXPECT_EQ(record.num_beats(), 1);
  EXPECT_TRUE(record.has_left());
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace rosa::base
