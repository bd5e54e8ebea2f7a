// The guardian of a rank, over processes that this test stops, kills and keeps from ending.
#include "launch/guardian.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/activity.h"

namespace rosa::launch {
namespace {

constexpr double kLimit_s = 1.0;
constexpr int kExitCode = 7;

void sleep_s(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

bool is_named(const std::string& pid, const std::string& name) {
  std::string found;
  std::getline(std::ifstream("/proc/" + pid + "/comm"), found);
  return found == name;
}

// The guardian of a process, once it is at work.
pid_t guardian_of(pid_t process) {
  const std::string pid = std::to_string(process);
  for (;;) {
    std::string child;
    std::ifstream("/proc/" + pid + "/task/" + pid + "/children") >> child;
    if (!child.empty() && is_named(child, kGuardianName)) return std::stoi(child);
    sleep_s(0.01);
  }
}

// A child with a guardian, in a group of its own; it runs `body` and ends with kExitCode.
class Guarded {
 public:
  explicit Guarded(const std::function<void()>& body) {
    if (pipe(output_.data()) != 0) throw std::runtime_error("pipe failed");
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);
      dup2(output_[1], STDERR_FILENO);
      close(output_[0]);
      start_guardian("rank 5 on here", kLimit_s);
      [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, "+", 1);
      body();
      guardian_is_silent_from_now_on();
      _exit(kExitCode);
    }
    close(output_[1]);
    char ready = 0;
    EXPECT_EQ(read(output_[0], &ready, 1), 1);
  }
  ~Guarded() { close(output_[0]); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  pid_t pid() const { return pid_; }

  // The exit code, or 128 + the signal that ended it.
  int wait() const {
    int status = 0;
    waitpid(pid_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // What child and guardian said; comes back once both are gone.
  std::string output() const {
    std::string text;
    std::array<char, 256> part{};
    for (ssize_t size = 0; (size = read(output_[0], part.data(), part.size())) > 0;) {
      text.append(part.data(), static_cast<size_t>(size));
    }
    return text;
  }

 private:
  std::array<int, 2> output_{};
  pid_t pid_ = -1;
};

TEST(Guardian, KillsAProcessThatStaysStoppedAndSaysSo) {
  const Guarded process([] { raise(SIGSTOP); });
  EXPECT_EQ(process.wait(), 128 + SIGKILL);
  EXPECT_NE(process.output().find("rosa: rank 5 on here (process " + std::to_string(process.pid()) +
                                  ") has been stopped for "),
            std::string::npos);
}

TEST(Guardian, LeavesAloneWhatRunsOrGoesOn) {
  const Guarded process([] { sleep_s(3 * kLimit_s); });
  kill(process.pid(), SIGSTOP);
  sleep_s(kLimit_s / 4);
  kill(process.pid(), SIGCONT);
  EXPECT_EQ(process.wait(), kExitCode);
  EXPECT_EQ(process.output(), "");
}

TEST(Guardian, LeavesAloneAJobThatIsStoppedAsAWhole) {
  const Guarded process([] { sleep_s(kLimit_s); });
  kill(-process.pid(), SIGSTOP);
  sleep_s(3 * kLimit_s);
  kill(-process.pid(), SIGCONT);
  EXPECT_EQ(process.wait(), kExitCode);
  EXPECT_EQ(process.output(), "");
}

TEST(Guardian, KillsAProcessThatDoesNotEnd) {
  const Guarded process([] {
    guardian_expects_the_end();
    sleep_s(1000);
  });
  EXPECT_EQ(process.wait(), 128 + SIGKILL);
  EXPECT_NE(process.output().find("has been ending for "), std::string::npos);
}

TEST(Guardian, WithoutALimitNothingIsKilled) {
  const Guarded process([] {
    set_guardian_limit(0.0);
    guardian_expects_the_end();
    sleep_s(3 * kLimit_s);
  });
  EXPECT_EQ(process.wait(), kExitCode);
}

TEST(Guardian, DiesWithItsProcessAndOfNothingElse) {
  const Guarded process([] { sleep_s(1000); });
  const pid_t guardian = guardian_of(process.pid());
  for (const int name : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) kill(guardian, name);
  kill(process.pid(), SIGSTOP);
  EXPECT_EQ(process.wait(), 128 + SIGKILL) << "those signals have not ended the guardian";
  const Guarded killed([] { sleep_s(1000); });
  kill(killed.pid(), SIGSTOP);
  kill(guardian_of(killed.pid()), SIGSTOP);
  kill(killed.pid(), SIGKILL);
  EXPECT_EQ(killed.wait(), 128 + SIGKILL);
  killed.output();  // the end of the pipe shows that both are gone
}

TEST(Guardian, NamesAProcessThatIsGoneWithoutAWord) {
  for (const bool is_killed : {true, false}) {
    const Guarded process([is_killed] {
      base::begin_step(3);
      const base::PhaseScope phase(base::Phase::backward);
      if (is_killed) raise(SIGKILL);
      _exit(0);
    });
    EXPECT_EQ(process.wait(), is_killed ? 128 + SIGKILL : 0);
    EXPECT_EQ(process.output(), "rosa: rank 5 on here (process " + std::to_string(process.pid()) +
                                    ") is gone: killed, or ended without a word. It was at step 3, phase backward, in "
                                    "no collective\n");
  }
}

TEST(Guardian, HasNothingToAddToAnEndWithAnExitCodeOrAfterTerm) {
  const Guarded ends([] { std::exit(4); });
  EXPECT_EQ(ends.wait(), 4);
  EXPECT_EQ(ends.output(), "");
  const Guarded killed([] {
    guardian_expects_a_kill();
    raise(SIGKILL);
  });
  EXPECT_EQ(killed.wait(), 128 + SIGKILL);
  EXPECT_EQ(killed.output(), "");
}

}  // namespace
}  // namespace rosa::launch
