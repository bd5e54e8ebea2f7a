#include "base/folder_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "base/error.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const auto take = [](const std::filesystem::path& folder) { FolderLock(folder, 0ms); };

TEST(FolderLock, KeepsASecondOneOutAndNamesItsHolder) {
  const testing::TemporaryFolder folder;
  std::optional<FolderLock> first(std::in_place, folder.path(), 0ms);
  EXPECT_THAT([&] { take(folder.path()); },
              ThrowsMessage<FileError>(AllOf(HasSubstr(folder.path().string()),
                                             HasSubstr("is in use by process " + std::to_string(::getpid())))));
  first.reset();
  EXPECT_NO_THROW(take(folder.path()));
}

TEST(FolderLock, WaitsForOneThatIsGivenUpInTime) {
  const testing::TemporaryFolder folder;
  std::optional<FolderLock> first(std::in_place, folder.path(), 0ms);
  std::thread ending([&] {
    std::this_thread::sleep_for(100ms);
    first.reset();
  });
  EXPECT_NO_THROW(FolderLock(folder.path(), 60s));
  ending.join();
}

TEST(FolderLock, IsGoneWithAKilledProcess) {
  const testing::TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const FolderLock lock(folder.path(), 0ms);
    if (::write(ready[1], "x", 1) == 1) ::pause();
    ::_exit(1);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THAT([&] { take(folder.path()); }, ThrowsMessage<FileError>(HasSubstr(std::to_string(child))));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_NO_THROW(take(folder.path()));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(FolderLock, LeavesALinkAndAFileOfOthersAlone) {
  const testing::TemporaryFolder folder;
  const auto write = [](const std::filesystem::path& path) { std::ofstream(path) << "precious"; };
  write(folder / "victim");
  std::filesystem::create_symlink(folder / "victim", folder / "lock");
  EXPECT_THAT([&] { take(folder.path()); }, ThrowsMessage<FileError>(HasSubstr("is a symbolic link")));
  EXPECT_EQ(std::filesystem::file_size(folder / "victim"), 8u);
  std::filesystem::remove(folder / "lock");
  write(folder / "lock");
  EXPECT_THAT([&] { take(folder.path()); }, ThrowsMessage<FileError>(HasSubstr("is no lock that this program made")));
  EXPECT_EQ(std::filesystem::file_size(folder / "lock"), 8u);
  std::filesystem::remove(folder / "lock");
  ASSERT_EQ(::mkfifo((folder / "lock").c_str(), 0600), 0);
  EXPECT_THROW(take(folder.path()), FileError);
}

TEST(FolderLock, NeedsAFolder) {
  const testing::TemporaryFolder folder;
  EXPECT_THAT([&] { take(folder.path() / "absent"); }, ThrowsMessage<FileError>(HasSubstr("absent/lock")));
}

}  // namespace
}  // namespace rosa::base
