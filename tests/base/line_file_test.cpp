#include "base/line_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LineFileTest : public ::testing::Test {
 protected:
  LineFile file(int64_t max_waiting_bytes = 1 << 20) {
    return LineFile(
        path_, [this](const std::string& text) { warnings_.push_back(text); }, max_waiting_bytes);
  }
  std::string content() const { return read_file(path_, 1 << 20); }

  const testing::TemporaryFolder folder_;
  const fs::path path_ = folder_ / "lines";
  std::vector<std::string> warnings_;
};

// No file of this process may grow beyond `bytes`: what a full disk looks like to whoever writes.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(LineFileTest, AppendsToWhatIsThere) {
  std::ofstream(path_) << "old\n";
  LineFile lines = file();
  lines.write("a");
  lines.write("b");
  EXPECT_EQ(content(), "old\na\nb\n");
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(LineFileTest, LinesWaitForSpaceAndArriveWholeAndInOrder) {
  LineFile lines = file();
  lines.write("first");
  {
    const FileSizeLimit limit(8);
    for (const char* line : {"second", "third", "fourth"}) lines.write(line);
    EXPECT_EQ(content(), "first\n") << "half a line must not stay";
  }
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("lines' (write failed: File too large)"))) << "told once";
  lines.write("fifth");
  EXPECT_EQ(content(), "first\nsecond\nthird\nfourth\nfifth\n");
  ASSERT_EQ(warnings_.size(), 2u);
  EXPECT_THAT(warnings_[1], HasSubstr("can be written to again"));
  EXPECT_THAT(warnings_[1], Not(HasSubstr("dropped")));
}

TEST_F(LineFileTest, BeyondTheBoundTheOldestAreDroppedAndCounted) {
  LineFile lines = file(/*max_waiting_bytes=*/6);
  {
    const FileSizeLimit limit(0);
    for (const char* line : {"1", "2", "3", "4", "5"}) lines.write(line);
  }
  lines.write("6");
  EXPECT_EQ(content(), "3\n4\n5\n6\n");
  EXPECT_THAT(warnings_.back(), HasSubstr("2 lines were dropped"));
}

TEST_F(LineFileTest, WhatIsLostAtTheEndIsSaid) {
  {
    const FileSizeLimit limit(0);
    LineFile lines = file();
    lines.write("1");
    lines.write("2");
  }
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("write failed"), HasSubstr("2 lines are lost")));
}

TEST_F(LineFileTest, AFileThatIsRemovedReplacedOrCutIsWrittenAnew) {
  LineFile lines = file();
  lines.write("1");
  fs::remove(path_);
  lines.write("2");
  EXPECT_EQ(content(), "2\n");
  fs::rename(path_, folder_ / "rotated");
  lines.write("3");
  EXPECT_EQ(content(), "3\n");
  EXPECT_EQ(read_file(folder_ / "rotated", 100), "2\n");
  std::ofstream(path_, std::ios::trunc).close();
  lines.write("4");
  EXPECT_EQ(content(), "4\n");
  fs::remove_all(folder_.path());
  lines.write("5");
  EXPECT_EQ(content(), "5\n") << "with its folder";
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(LineFileTest, AFolderOrPipeInItsPlaceIsAnErrorAtOnce) {
  fs::create_directory(path_);
  EXPECT_THROW(file().open(), FileError);
  fs::remove(path_);
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THROW(file().open(), FileError) << "and does not wait for a reader";
}

}  // namespace
}  // namespace rosa::base
