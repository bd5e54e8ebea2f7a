#include "base/line_command.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "base/error.h"
#include "tests/support/temporary_folder.h"

namespace rosa::base {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class LineCommandTest : public ::testing::Test {
 protected:
  LineCommandTest() { std::signal(SIGPIPE, SIG_IGN); }

  LineCommandOptions options(const std::string& command) {
    return {.name = "tracker",
            .command = command,
            .log_file = folder_ / "log",
            .environment = {{"FOLDER", folder_.path().string()}},
            .warn = [this](const std::string& text) { warnings_.push_back(text); },
            .drain_s = 60.0,
            .exit_s = 60.0};
  }
  std::string content(const std::string& name) const { return read_file(folder_ / name, 1 << 24); }

  // Calls poll() until `condition` holds.
  template <class Condition>
  static void poll_until(LineCommand& command, const Condition& condition) {
    for (int i = 0; i < 6000 && !condition(); ++i) {
      command.poll();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_TRUE(condition());
  }

  const testing::TemporaryFolder folder_;
  std::vector<std::string> warnings_;
};

TEST_F(LineCommandTest, GivesTheProgramEveryLineAndKeepsWhatItPrints) {
  {
    LineCommand command(options("echo out; echo err >&2; cat > $FOLDER/lines"));
    for (int i = 0; i < 3; ++i) command.write(concat("line ", i));
  }
  EXPECT_EQ(content("lines"), "line 0\nline 1\nline 2\n");
  EXPECT_EQ(content("log"), "out\nerr\n");
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(LineCommandTest, GivesASlowProgramWhatFitsIntoTheBound) {
  constexpr int kNumLines = 20000;
  const std::string rest(90, 'x');
  {
    LineCommand command(options("while [ ! -e $FOLDER/go ]; do sleep 0.01; done; cat > $FOLDER/lines"));
    for (int i = 0; i < kNumLines; ++i) command.write(concat(i, " ", rest));  // twice the bound; never blocks
    close(open((folder_ / "go").c_str(), O_CREAT | O_WRONLY, 0600));
  }
  std::istringstream lines(content("lines"));
  std::vector<int> numbers;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_EQ(line.substr(line.find(' ') + 1), rest) << "half a line";
    numbers.push_back(std::stoi(line));
  }
  EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  EXPECT_EQ(numbers.front(), 0) << "what the system took is not lost";
  EXPECT_EQ(numbers.back(), kNumLines - 1) << "the oldest are dropped";
  const auto num_dropped = kNumLines - static_cast<int>(numbers.size());
  EXPECT_GT(num_dropped, 0);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("takes its lines too slowly"),
                                     HasSubstr(concat(num_dropped, " lines did not reach it"))));
}

TEST_F(LineCommandTest, WarnsOnceOfAnEarlyEnd) {
  for (const auto& [end, text] : {std::pair{"exit 3", "ended with exit status 3"}, std::pair{"exit 0", "status 0"},
                                  std::pair{"kill -9 $$", "was ended by signal 9"},
                                  std::pair{"exec no_such_program", "ended with exit status 127"}}) {
    warnings_.clear();
    LineCommand command(options(std::string("read line; ") + end));
    command.write("one");
    poll_until(command, [&] { return !warnings_.empty(); });
    for (int i = 0; i < 3; ++i) command.write("more");
    command.finish();
    EXPECT_THAT(warnings_, ElementsAre(AllOf(HasSubstr("tracker '"), HasSubstr(text), HasSubstr("log"))));
  }
  EXPECT_THAT(content("log"), HasSubstr("no_such_program"));
}

TEST_F(LineCommandTest, SaysThatItFailedAtTheEnd) {
  LineCommand(options("cat > /dev/null; exit 4"));
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("ended with exit status 4")));
}

TEST_F(LineCommandTest, GoesOnWithoutAProgramThatClosesItsInput) {
  LineCommand command(options("exec < /dev/null; while [ ! -e $FOLDER/go ]; do sleep 0.01; done"));
  poll_until(command, [&] {
    command.write("line");
    return !warnings_.empty();
  });
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("takes no more lines")));
  close(open((folder_ / "go").c_str(), O_CREAT | O_WRONLY, 0600));
  command.finish();
  EXPECT_EQ(warnings_.size(), 1u);
}

TEST_F(LineCommandTest, EndsAProgramThatDoesNotEnd) {
  LineCommandOptions stubborn = options("trap '' TERM; echo $$ > $FOLDER/pid; while true; do sleep 0.01; done");
  stubborn.drain_s = stubborn.exit_s = stubborn.kill_s = 0.2;
  LineCommand command(stubborn);
  poll_until(command, [&] { return fs::exists(folder_ / "pid") && !content("pid").empty(); });
  command.finish();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("it gets TERM"), HasSubstr("was ended by signal 9")));
  EXPECT_NE(::kill(std::stoi(content("pid")), 0), 0);
}

TEST_F(LineCommandTest, InheritsNothing) {
  const int open_one = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ASSERT_GT(open_one, 2);
  ::setenv("OMPI_COMM_WORLD_RANK", "0", 1);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  {
    LineCommand command(
        options("cat; grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd; env; echo $$ > $FOLDER/pid; "
                "cut -d' ' -f6 /proc/$$/stat > $FOLDER/session"));
  }
  ::pthread_sigmask(SIG_UNBLOCK, &blocked, nullptr);
  ::unsetenv("OMPI_COMM_WORLD_RANK");
  ::close(open_one);
  const std::string log = content("log");
  // The C library keeps signals 32 and 33 for itself.
  EXPECT_THAT(log, AllOf(HasSubstr("SigBlk:\t0000000000000000"), ContainsRegex("SigIgn:\t[0-9a-f]*[08]0000000\n"),
                         HasSubstr("\n0\n1\n2\n3\n"), Not(HasSubstr("\n4\n")), Not(HasSubstr("OMPI_")),
                         HasSubstr(concat("FOLDER=", folder_.path().string()))));
  EXPECT_EQ(content("session"), content("pid")) << "a session of its own";
}

TEST_F(LineCommandTest, DoesNotHoldUpAnError) {
  LineCommandOptions slow = options("while true; do sleep 0.01; done");
  try {
    const LineCommand command(slow);
    throw std::runtime_error("of the work");
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "of the work");
  }
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("has not ended 2 s after"), HasSubstr("was ended by signal 15")));
}

TEST_F(LineCommandTest, RunsWithoutALog) {
  LineCommandOptions without = options("cat > $FOLDER/lines; echo lost");
  without.log_file = folder_ / "absent/log";
  {
    LineCommand command(without);
    command.write("line");
  }
  EXPECT_EQ(content("lines"), "line\n");
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("what it prints goes nowhere")));
}

}  // namespace
}  // namespace rosa::base
