#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

using ::testing::HasSubstr;

TEST(Log, NamesTheRankAndWritesBothPlaces) {
  rosa::testing::TemporaryFolder folder;
  std::vector<std::string> lines;
  LogOptions options;
  options.rank = 3;
  options.world_size = 4;
  options.file = folder / "log.txt";
  options.info_to_console = false;
  options.console = [&](const std::string& line) { lines.push_back(line); };
  start_log(options);
  log_info("quiet");
  log_warning("braces {} and %v stay");
  log_error("last");
  flush_log();
  start_log({});

  ASSERT_EQ(lines.size(), 2u);
  EXPECT_THAT(lines[0], HasSubstr("[rank 3] braces {} and %v stay"));
  EXPECT_THAT(lines[0], HasSubstr("warning"));
  EXPECT_EQ(lines[0].find('\n'), std::string::npos);
  EXPECT_THAT(lines[1], HasSubstr("error"));
  std::string file = read_file(folder / "log.txt", 10000);
  EXPECT_THAT(file, HasSubstr("quiet"));
  EXPECT_THAT(file, HasSubstr("last"));
}

TEST(Log, WhatIsLoggedIsOneLineWithoutControls) {
  std::vector<std::string> lines;
  LogOptions options;
  options.console = [&](const std::string& line) { lines.push_back(line); };
  start_log(options);
  log_warning("'x\x1b[2J\nrosa: rank 0 on host: all is well' \xe9");
  start_log({});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("'x\\x1b[2J\\nrosa: rank 0 on host: all is well' \\xe9"));
  EXPECT_EQ(lines[0].find_first_of("\n\x1b"), std::string::npos);
}

TEST(Log, NothingFollowsTheLastWordsOfAnotherProcess) {
  bool is_closed = false;
  // In a process of its own: the console stays closed.
  EXPECT_EXIT(
      {
        LogOptions options;
        options.console_is_closed = [&] { return is_closed; };
        start_log(options);
        log_warning("before");
        is_closed = true;
        log_error("after");
        is_closed = false;
        log_error("later");
        std::_Exit(console_is_open() ? 1 : 0);
      },
      ::testing::ExitedWithCode(0), "^[^\n]*before\n$");
}

TEST(Log, UnopenableFileIsAnError) {
  rosa::testing::TemporaryFolder folder;
  LogOptions options;
  options.file = folder.path();
  EXPECT_THROW(start_log(options), FileError);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  options.file = folder / "pipe";
  EXPECT_THROW(start_log(options), FileError);
}

}  // namespace
}  // namespace rosa::base
