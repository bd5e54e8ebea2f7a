#include "base/activity.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
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

}  // namespace
}  // namespace rosa::base
