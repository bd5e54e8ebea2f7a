#include "launch/guardian.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>

#include "base/error.h"
#include "base/log.h"

namespace rosa::launch {
namespace {

constexpr double kNap_s = 0.25;

// In memory of both processes.
struct Orders {
  std::atomic<double> limit_s{0.0};
  std::atomic<bool> ending{false};
};
static_assert(std::atomic<double>::is_always_lock_free, "the orders are shared between processes");

Orders* orders = nullptr;

// The state letter of "PID (NAME) S ..."; NAME may hold anything. No allocation: another thread of the rank might have
// held the allocator's lock.
bool is_stopped(pid_t process) {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", static_cast<int>(process));
  const int file = open(path.data(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  std::array<char, 512> text{};
  const ssize_t size = read(file, text.data(), text.size() - 1);
  close(file);
  const char* end_of_name = size > 0 ? std::strrchr(text.data(), ')') : nullptr;
  return end_of_name != nullptr && std::strncmp(end_of_name, ") T", 3) == 0;
}

void say(const char* who, pid_t process, const char* what, double seconds) {
  std::array<char, 512> text{};
  const int size =
      std::snprintf(text.data(), text.size(), "rosa: %s (process %d) %s for %.0f s and nobody has ended it: killed\n",
                    who, static_cast<int>(process), what, seconds);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), static_cast<size_t>(size));
}

[[noreturn]] void guard(pid_t process, const char* who) {
  // Signals to the group are for the rank; what stops the group stops both.
  for (const int name : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE}) signal(name, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NAME, kGuardianName);
  // Its own naps are counted: a time in which the whole host was stopped is none of the rank's.
  double counted_s = 0.0;
  for (;;) {
    if (getppid() != process) _exit(0);  // it has ended before the death signal was asked for
    const bool stopped = is_stopped(process);
    counted_s = stopped || orders->ending ? counted_s + kNap_s : 0.0;
    const double limit_s = orders->limit_s;
    if (limit_s > 0.0 && counted_s > limit_s) {
      say(who, process, stopped ? "has been stopped" : "has been ending", counted_s);
      kill(process, SIGKILL);
      _exit(0);
    }
    timespec nap{.tv_sec = 0, .tv_nsec = static_cast<long>(kNap_s * 1e9)};
    nanosleep(&nap, nullptr);
  }
}

}  // namespace

void start_guardian(const char* who, double limit_s) {
  void* memory = mmap(nullptr, sizeof(Orders), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    base::log_warning(base::concat("no guardian: ", std::strerror(errno)));
    return;
  }
  orders = new (memory) Orders();
  set_guardian_limit(limit_s);
  const pid_t process = getpid();
  const pid_t guardian = fork();
  if (guardian == 0) guard(process, who);
  if (guardian < 0) base::log_warning(base::concat("no guardian: ", std::strerror(errno)));
}

void set_guardian_limit(double limit_s) {
  if (orders != nullptr) orders->limit_s = limit_s;
}

void guardian_expects_the_end() {
  if (orders != nullptr) orders->ending = true;
}

}  // namespace rosa::launch
