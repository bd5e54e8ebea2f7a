#include "base/file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

using ::testing::HasSubstr;

// Runs `body` in a child process whose files may not grow beyond `max_bytes`; returns what it returns.
int with_file_limit(rlim_t max_bytes, const std::function<int()>& body) {
  pid_t child = ::fork();
  if (child == 0) {
    // Without this the signal would end the process before write() could fail with EFBIG.
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{max_bytes, max_bytes};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(99);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

TEST(File, WritesAndReads) {
  rosa::testing::TemporaryFolder folder;
  std::string text("line\nwith\0zero", 14);
  write_file_atomically(folder / "x", text);
  EXPECT_EQ(read_file(folder / "x", 14), text);
  EXPECT_THROW(read_file(folder / "x", 13), DataError);
  write_file_atomically(folder / "x", std::string_view(""));
  EXPECT_EQ(read_file(folder / "x", 0), "");
  // A file whose size the system does not tell.
  EXPECT_THAT(read_file("/proc/self/status", 1 << 20), HasSubstr("Name:"));
}

TEST(File, WhatIsNoRegularFileIsRefusedAtOnce) {
  rosa::testing::TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::filesystem::create_symlink(folder / "pipe", folder / "link");
  const auto complaint = [](const std::function<void()>& use) -> std::string {
    try {
      use();
      return "";
    } catch (const FileError& error) {
      return error.what();
    }
  };
  for (const char* name : {"pipe", "link"}) {
    EXPECT_THAT(complaint([&] { read_file(folder / name, 10); }), HasSubstr("it is a named pipe")) << name;
    EXPECT_THAT(complaint([&] { MappedFile file(folder / name); }), HasSubstr("it is a named pipe")) << name;
    EXPECT_THAT(complaint([&] { open_regular_file(folder / name, O_WRONLY | O_APPEND | O_CREAT); }),
                HasSubstr("it is a named pipe"));
  }
  EXPECT_THAT(complaint([&] { read_file(folder.path(), 10); }), HasSubstr("it is a folder"));
  EXPECT_THAT(complaint([&] { open_regular_file(folder.path(), O_WRONLY | O_APPEND | O_CREAT); }),
              HasSubstr("it is a folder"));
  EXPECT_THAT(complaint([&] { read_file("/dev/zero", 10); }), HasSubstr("it is a device"));
  // Where a pipe is welcome, one without a writer is empty.
  EXPECT_EQ(read_file(folder / "pipe", 10, FileKind::any), "");
  EXPECT_THROW(read_file("/dev/zero", 10, FileKind::any), DataError);
}

TEST(File, AnLfsPointerIsNotTheFile) {
  rosa::testing::TemporaryFolder folder;
  write_file_atomically(folder / "x", std::string_view("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"));
  try {
    read_file(folder / "x", 1000);
    ADD_FAILURE();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("git lfs pull"));
  }
  EXPECT_THROW(MappedFile(folder / "x"), DataError);
}

TEST(File, NamesCallPathAndReason) {
  rosa::testing::TemporaryFolder folder;
  try {
    read_file(folder / "absent", 10);
    ADD_FAILURE();
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("open"));
    EXPECT_THAT(error.what(), HasSubstr("absent"));
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
  EXPECT_THROW(read_file(folder.path(), 10), FileError);
  EXPECT_THROW(write_file_atomically(folder / "absent/x", std::string_view("a")), FileError);
  EXPECT_THROW(sync_folder(folder / "absent"), FileError);
}

TEST(File, UncommittedLeavesNoTrace) {
  rosa::testing::TemporaryFolder folder;
  write_file_atomically(folder / "x", std::string_view("old"));
  {
    AtomicFile file(folder / "x");
    file.write("new");
    EXPECT_EQ(read_file(folder / "x", 10), "old");
  }
  EXPECT_EQ(read_file(folder / "x", 10), "old");
  auto begin = std::filesystem::directory_iterator(folder.path());
  EXPECT_EQ(std::distance(begin, std::filesystem::directory_iterator{}), 1);
}

TEST(File, HeaderCanBeWrittenLast) {
  rosa::testing::TemporaryFolder folder;
  AtomicFile file(folder / "x");
  file.write("????body");
  file.write_at(0, std::as_bytes(std::span("head", 4)));
  file.write("+");
  file.commit();
  EXPECT_EQ(read_file(folder / "x", 10), "headbody+");
  EXPECT_THROW(file.write("late"), ArgumentError);
}

TEST(File, FailedWriteKeepsTheOldFileAndCleansUp) {
  rosa::testing::TemporaryFolder folder;
  write_file_atomically(folder / "x", std::string_view("old"));
  int result = with_file_limit(1000, [&] {
    try {
      write_file_atomically(folder / "x", std::string(5000, 'n'));
    } catch (const FileError& error) {
      return std::string(error.what()).find("File too large") != std::string::npos ? 0 : 2;
    }
    return 1;
  });
  EXPECT_EQ(result, 0);
  EXPECT_EQ(read_file(folder / "x", 10), "old");
  auto begin = std::filesystem::directory_iterator(folder.path());
  EXPECT_EQ(std::distance(begin, std::filesystem::directory_iterator{}), 1);
}

TEST(File, ALinkIsFollowedAndStays) {
  rosa::testing::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "big");
  std::filesystem::create_symlink("big/x", folder / "relative");
  std::filesystem::create_symlink(folder / "relative", folder / "twice");
  for (const char* text : {"made", "replaced"}) {  // the target is not there at first
    write_file_atomically(folder / "twice", std::string_view(text));
    EXPECT_EQ(read_file(folder / "big/x", 10), text);
  }
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "twice") && std::filesystem::is_symlink(folder / "relative"));
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_THROW(write_file_atomically(folder / "loop", std::string_view("x")), FileError);
}

TEST(File, PermissionsAreKeptAndAsked) {
  rosa::testing::TemporaryFolder folder;
  write_file_atomically(folder / "x", std::string_view("secret"));
  ASSERT_EQ(::chmod((folder / "x").c_str(), 0600), 0);
  write_file_atomically(folder / "x", std::string_view("new"));
  EXPECT_EQ(std::filesystem::status(folder / "x").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  if (::geteuid() == 0) return;  // may write everything
  ASSERT_EQ(::chmod((folder / "x").c_str(), 0400), 0);
  EXPECT_THROW(write_file_atomically(folder / "x", std::string_view("forbidden")), FileError);
}

TEST(File, PipesAndDevicesAreWrittenTo) {
  rosa::testing::TemporaryFolder folder;
  EXPECT_NO_THROW(write_file_atomically("/dev/null", std::string_view("x")));
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_THROW(write_file_atomically("/dev/full", std::string_view("x")), FileError);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(write_file_atomically(folder / "pipe", std::string_view("x")), FileError);  // nobody reads, ever
  const int reader = ::open((folder / "pipe").c_str(), O_RDONLY | O_NONBLOCK);
  {
    AtomicFile file(folder / "pipe");
    file.write("????body");
    file.write_at(0, std::as_bytes(std::span("head", 4)));
    file.commit();
  }
  std::string text(20, '\0');
  text.resize(static_cast<size_t>(std::max<ssize_t>(0, ::read(reader, text.data(), text.size()))));
  ::close(reader);
  EXPECT_EQ(text, "headbody");
  EXPECT_TRUE(std::filesystem::is_fifo(folder / "pipe"));
}

TEST(File, AnOpenDescriptorIsWrittenToWhereItStands) {
  rosa::testing::TemporaryFolder folder;
  const int file = ::open((folder / "x").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(::write(file, "before ", 7), 7);
  for (const char* names : {"/dev/fd/", "/proc/self/fd/"}) {
    write_file_atomically(names + std::to_string(file), std::string_view("text "));
  }
  ::close(file);
  EXPECT_EQ(read_file(folder / "x", 100), "before text text ");
}

TEST(File, ANameMayBeAsLongAsTheSystemTakes) {
  rosa::testing::TemporaryFolder folder;
  const std::string name(255, 'x');
  write_file_atomically(folder / name, std::string_view("text"));
  EXPECT_EQ(read_file(folder / name, 10), "text");
}

TEST(File, NothingThatWasLaidBesideItIsWrittenTo) {
  rosa::testing::TemporaryFolder folder;
  write_file_atomically(folder / "victim", std::string_view("precious"));
  for (int i = 0; i < 100; ++i) {
    std::filesystem::create_symlink(folder / "victim", folder / concat("x.tmp-", ::getpid(), "-", i));
  }
  write_file_atomically(folder / "x", std::string_view("text"));
  EXPECT_EQ(read_file(folder / "victim", 10), "precious");
  EXPECT_EQ(read_file(folder / "x", 10), "text");
}

TEST(MappedFile, ShowsTheContentAndMoves) {
  rosa::testing::TemporaryFolder folder;
  write_file_atomically(folder / "x", std::string_view("abc"));
  MappedFile file(folder / "x");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(static_cast<char>(file.bytes()[2]), 'c');
  MappedFile moved(std::move(file));
  EXPECT_EQ(moved.bytes().size(), 3u);
  // Replacing the file leaves the mapped content as it was.
  write_file_atomically(folder / "x", std::string_view("other"));
  EXPECT_EQ(static_cast<char>(moved.bytes()[0]), 'a');
  write_file_atomically(folder / "empty", std::string_view(""));
  EXPECT_TRUE(MappedFile(folder / "empty").bytes().empty());
  EXPECT_THROW(MappedFile(folder / "absent"), FileError);
  EXPECT_THROW(MappedFile(folder.path()), FileError);
  EXPECT_THROW(MappedFile("/dev/null"), FileError);
}

TEST(MappedFile, KnowsItsAddressesAndASizeThatChanged) {
  rosa::testing::TemporaryFolder folder;
  const std::byte* address = nullptr;
  {
    write_file_atomically(folder / "x", std::string(10'000, 'a'));
    MappedFile file(folder / "x");
    const MappedFile moved(std::move(file));
    address = moved.bytes().data();
    EXPECT_EQ(mapped_file_at(address), (folder / "x").string());
    EXPECT_EQ(mapped_file_at(address + 9'999), (folder / "x").string());
    EXPECT_EQ(mapped_file_at(&folder), "");
    EXPECT_EQ(mapped_file_at(nullptr), "");
    // Another file under the name is none of its business; one that is cut is.
    write_file_atomically(folder / "x", std::string_view("other"));
    EXPECT_NO_THROW(moved.require_same_size());
    const MappedFile again(folder / "x");
    std::filesystem::resize_file(folder / "x", 0);
    EXPECT_THROW(again.require_same_size(), FileError);
  }
  EXPECT_EQ(mapped_file_at(address), "");
}

}  // namespace
}  // namespace rosa::base
