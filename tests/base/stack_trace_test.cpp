#include "base/stack_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;

std::atomic<bool> over{false};

TEST(StackTrace, ShowsEveryThreadAndDisturbsNone) {
  prepare_stack_traces();
  const testing::TemporaryFolder folder;
  over = false;
  std::thread busy([] {
    pthread_setname_np(pthread_self(), "busy");
    while (!over) continue;
  });
  std::thread sleeper([] {
    pthread_setname_np(pthread_self(), "sleeper");
    while (!over) usleep(1000);
  });
  write_stack_traces(folder / "stacks.txt", "because of that");
  for (int time = 0; time < 20; ++time) write_stack_traces(folder / "stacks.txt", "because of this");
  over = true;
  busy.join();
  sleeper.join();
  const std::string text = read_file(folder / "stacks.txt", 1 << 24);
  EXPECT_TRUE(text.starts_with("because of this\n")) << text;
  EXPECT_THAT(text, ContainsRegex("thread [0-9]+ \\(busy\\), state R[^\n]*\n  #0 "));
  EXPECT_THAT(text, ContainsRegex("thread [0-9]+ \\(sleeper\\), state [^\n]*\n  #0 "));
  EXPECT_THAT(text, HasSubstr("libc"));
  EXPECT_THAT(text, HasSubstr("\nbecause of that\n")) << "what was written earlier stays";
  EXPECT_THROW(write_stack_traces("/no/such/folder/stacks.txt", ""), FileError);
}

TEST(StackTrace, TheFileDoesNotGrowWithoutLimit) {
  prepare_stack_traces();
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "stacks.txt", std::string(3 << 20, 'x'));
  write_stack_traces(folder / "stacks.txt", "because of this");
  const std::string text = read_file(folder / "stacks.txt", 1 << 24);
  EXPECT_TRUE(text.starts_with("because of this\n"));
  EXPECT_EQ(text.size(), size_t{1} << 20);
}

TEST(StackTrace, AThreadThatBlocksTheSignalIsShownByItsState) {
  prepare_stack_traces();
  const testing::TemporaryFolder folder;
  over = false;
  std::thread deaf([] {
    pthread_setname_np(pthread_self(), "deaf");
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    while (!over) usleep(1000);
  });
  usleep(100000);
  write_stack_traces(folder / "stacks.txt", "");
  over = true;
  deaf.join();
  EXPECT_THAT(read_file(folder / "stacks.txt", 1 << 24),
              ContainsRegex("\\(deaf\\), state [^\n]*\n  does not answer\n"));
}

}  // namespace
}  // namespace rosa::base
