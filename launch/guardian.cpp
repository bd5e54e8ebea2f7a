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
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "base/activity.h"
#include "base/error.h"
#include "base/host_name.h"
#include "base/log.h"
#include "launch/last_word.h"

namespace rosa::launch {
namespace {

constexpr double kNap_s = 0.25;
constexpr int kRoundsPerLook = 4;  // at the other ranks of the host
// Longer than launchers leave between TERM and KILL.
constexpr time_t kKillFollowsTerm_s = 15;

// In memory of both processes.
struct Orders {
  std::atomic<double> limit_s{0.0};
  std::atomic<bool> ending{false}, silent{false};
  std::atomic<time_t> term_at{-kKillFollowsTerm_s - 1};
};
static_assert(std::atomic<double>::is_always_lock_free, "the orders are shared between processes");

Orders* orders = nullptr;

time_t now_s() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

// The state letter of "PID (NAME) S ..."; NAME may hold anything.
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

void say(const std::string& text) {
  if (!may_speak(text.c_str())) return;
  const std::string line = text + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

// The rank has ended. Its record of what it did last is still here.
[[noreturn]] void take_leave(const std::string& name) {
  if (!orders->silent && now_s() - orders->term_at > kKillFollowsTerm_s) {
    say(base::concat(name, " is gone: killed, or ended without a word. It was at ",
                     base::describe(base::current_activity())));
  }
  _exit(0);
}

std::string first_word_of(const std::string& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

std::string folder_of(pid_t process) { return base::concat("/proc/", process); }

// The other processes that this launcher started on this host.
class Siblings {
 public:
  explicit Siblings(pid_t launcher, pid_t own) : launcher_(launcher), own_(own) {}

  // Kills one that has been stopped for longer than `limit_s` and has no guardian: it was stopped while the system
  // still loaded the program.
  void look(double seconds_since_last_look, double limit_s) {
    std::map<pid_t, double> stopped_s;
    std::ifstream children(folder_of(launcher_) + base::concat("/task/", launcher_, "/children"));
    for (pid_t sibling = 0; children >> sibling;) {
      if (sibling == own_ || !is_stopped(sibling) || has_guardian(sibling) || !is_same_program(sibling)) continue;
      stopped_s[sibling] = stopped_s_[sibling] + seconds_since_last_look;
    }
    stopped_s_ = std::move(stopped_s);
    for (const auto& [sibling, seconds] : stopped_s_) {
      if (limit_s <= 0.0 || seconds <= limit_s) continue;
      say(base::concat("rosa: ", name_of(sibling), " has been stopped since its start, for ", seconds,
                       " s, and nobody has ended it: killed"));
      kill(sibling, SIGKILL);
    }
  }

 private:
  // A guardian is the only child that a rank ever has.
  static bool has_guardian(pid_t process) {
    return !first_word_of(folder_of(process) + base::concat("/task/", process, "/children")).empty();
  }
  static bool is_same_program(pid_t process) {
    std::error_code error, own_error;
    const auto program = std::filesystem::read_symlink(folder_of(process) + "/exe", error);
    return !error && program == std::filesystem::read_symlink("/proc/self/exe", own_error) && !own_error;
  }
  static std::string name_of(pid_t process) {
    std::ifstream environment(folder_of(process) + "/environ");
    for (std::string entry; std::getline(environment, entry, '\0');) {
      for (const char* name : {"OMPI_COMM_WORLD_RANK=", "PMIX_RANK=", "SLURM_PROCID="}) {
        if (!entry.starts_with(name)) continue;
        const std::string rank = entry.substr(std::strlen(name));
        return base::concat("rank ", rank, " on ", base::host_name(), " (process ", process, ")");
      }
    }
    return base::concat("process ", process, " on ", base::host_name());
  }

  const pid_t launcher_, own_;
  std::map<pid_t, double> stopped_s_;
};

void on_continue(int) {}  // only wakes it

[[noreturn]] void guard(pid_t process, pid_t launcher, const char* who) {
  // Signals to the group are for the rank; what stops the group stops both.
  for (const int name : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE}) signal(name, SIG_IGN);
  // The rank's end wakes it, also where it is stopped.
  struct sigaction action {};
  action.sa_handler = on_continue;
  sigaction(SIGCONT, &action, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGCONT);
  prctl(PR_SET_NAME, kGuardianName);
  const std::string name = base::concat("rosa: ", who, " (process ", process, ")");
  // Its own naps are counted: a time in which the whole host was stopped is none of the rank's.
  double counted_s = 0.0;
  Siblings siblings(launcher, process);
  for (int round = 0;; ++round) {
    if (getppid() != process) take_leave(name);
    const bool stopped = is_stopped(process);
    counted_s = stopped || orders->ending ? counted_s + kNap_s : 0.0;
    const double limit_s = orders->limit_s;
    if (limit_s > 0.0 && counted_s > limit_s) {
      say(base::concat(name, stopped ? " has been stopped for " : " has been ending for ", counted_s,
                       " s and nobody has ended it: killed"));
      kill(process, SIGKILL);
      _exit(0);
    }
    if (round % kRoundsPerLook == 0) siblings.look(kRoundsPerLook * kNap_s, limit_s);
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
  base::share_activity();
  const pid_t process = getpid(), launcher = getppid();
  const pid_t guardian = fork();
  if (guardian == 0) guard(process, launcher, who);
  if (guardian < 0) base::log_warning(base::concat("no guardian: ", std::strerror(errno)));
  // A return from main and an exit() of a library are ends with an exit code.
  std::atexit(guardian_is_silent_from_now_on);
}

void set_guardian_limit(double limit_s) {
  if (orders != nullptr) orders->limit_s = limit_s;
}

void guardian_expects_the_end() {
  if (orders != nullptr) orders->ending = true;
}

void guardian_is_silent_from_now_on() {
  if (orders != nullptr) orders->silent = true;
}

void guardian_expects_a_kill() {
  if (orders != nullptr) orders->term_at = now_s();
}

}  // namespace rosa::launch
