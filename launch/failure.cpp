#include "launch/failure.h"

#include <c10/util/Exception.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/config_problems.h"
#include "base/error.h"
#include "base/host_name.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "base/printable.h"
#include "launch/exit_code.h"
#include "launch/guardian.h"
#include "launch/last_word.h"
#include "launch/process.h"
#include "parallel/mpi_session.h"

namespace rosa::launch {
namespace {

using std::chrono::milliseconds;

// How long MPI_Abort may take to end a job, and a rank that has spoken to call it.
constexpr milliseconds kAbortDeadline{3000};
constexpr milliseconds kLastDeadline{8000};

// Signal handlers read them.
std::array<std::atomic<int>, 1024> local_ranks;
std::atomic<int> exit_code_at_deadline{kExitInternal};

std::atomic<bool> speaks{false};  // a thread of this process reports

using Path = std::array<char, PATH_MAX>;

// "/proc/PID/exe", or that of this process.
std::string_view program_of(const char* link, Path& path) {
  const ssize_t size = readlink(link, path.data(), path.size());
  return {path.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

void kill_local_ranks() {
  Path own, other;
  const std::string_view own_program = program_of("/proc/self/exe", own);
  for (const std::atomic<int>& rank : local_ranks) {
    const int pid = rank;
    if (pid == 0) return;
    std::array<char, 40> link{};
    std::snprintf(link.data(), link.size(), "/proc/%d/exe", pid);
    // A number may belong to somebody else by now.
    if (program_of(link.data(), other) == own_program) kill(pid, SIGKILL);
  }
}

// Where MPI does not end the job: the ranks of this host, and this process. The launcher sees processes that ended with
// an error and ends the rest.
void on_deadline(int) {
  kill_local_ranks();
  _exit(exit_code_at_deadline);
}

// By the system's timer, since there may be no memory and no thread to be had. An earlier deadline stays.
void end_after(milliseconds time, int exit_code) {
  itimerval timer{};
  if (getitimer(ITIMER_REAL, &timer) == 0) {
    const auto left = std::chrono::seconds(timer.it_value.tv_sec) + std::chrono::microseconds(timer.it_value.tv_usec);
    if (left.count() > 0 && left < time) return;
  }
  exit_code_at_deadline = exit_code;
  struct sigaction action {};
  action.sa_handler = on_deadline;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  timer = {};
  timer.it_value.tv_sec = time.count() / 1000;
  timer.it_value.tv_usec = time.count() % 1000 * 1000;
  setitimer(ITIMER_REAL, &timer, nullptr);
}

void say(const std::string& what) {
  const std::string text = base::concat("rosa: rank ", rank_of_process(), " on ", base::host_name(), ": ", what);
  const bool has_launcher = parallel::MpiSession::started_by_launcher();
  if (may_speak(text.c_str())) {
    base::log_last_words(text);
    if (has_launcher) end_speech();
  } else if (has_launcher) {
    be_silent();
    // The rank that speaks ends this one.
    std::this_thread::sleep_for(kAbortDeadline);
  }
}

// The thread was reading mapped memory, so that it holds no lock of the system's library: all may be called here.
void handle_bus_error(int, siginfo_t* info, void*) {
  const std::string path = base::mapped_file_at(info->si_addr);
  if (path.empty()) {
    signal(SIGBUS, SIG_DFL);  // not ours: the same instruction ends the process
    return;
  }
  _exit(report_failure(
      base::concat("'", base::printable(path), "' was shortened while it was in use, or can't be read any more; ",
                   "write a new version beside it and rename it, then start again"),
      kExitFileSystem));
}

void on_terminate() {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
    report_failure("ended by std::terminate, without an exception", kExitInternal);
  } catch (const std::exception& error) {
    report_failure(message_of(error), exit_code_of(error));
  } catch (...) {
    report_failure("unknown exception", kExitInternal);
  }
  _exit(kExitInternal);
}

}  // namespace

void set_local_ranks(const std::vector<int>& pids) {
  const size_t count = std::min(pids.size(), local_ranks.size());
  for (size_t i = 0; i < count; ++i) local_ranks[i] = pids[i];
  if (count < local_ranks.size()) local_ranks[count] = 0;
}

std::string message_of(const std::exception& error) {
  if (const auto* list = dynamic_cast<const base::ConfigErrorList*>(&error)) return list->list();
  // A line end in a message of our own stands in a name.
  if (dynamic_cast<const base::Error*>(&error) != nullptr) return base::printable(error.what());
  if (dynamic_cast<const std::filesystem::filesystem_error*>(&error) != nullptr) return base::printable(error.what());
  std::string text = error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    text = "the system gave no more memory (std::bad_alloc); see ulimit -v, the container's limit, and what else runs";
  } else if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) {
    text = torch->what_without_backtrace();
  } else if (const auto* system = dynamic_cast<const std::system_error*>(&error);
             system != nullptr && system->code() == std::errc::resource_unavailable_try_again) {
    text = base::concat("the system gave no thread (", text, "); see ulimit -u and -v, and the container's limits");
  }
  return base::one_line(text);
}

int report_failure(const std::string& what, int exit_code) noexcept {
  if (speaks.exchange(true)) {
    // Another thread ends this process.
    std::this_thread::sleep_for(kLastDeadline);
    _exit(exit_code);
  }
  try {
    say(what);
  } catch (...) {
    constexpr std::string_view kText = "rosa: failed, and there is no memory left to say why\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kText.data(), kText.size());
  }
  guardian_is_silent_from_now_on();
  // MPI_Abort may need what a thread that is stuck in MPI holds.
  end_after(kAbortDeadline, exit_code);
  // A rank alone has nobody to end, and MPI would have the last word.
  if (parallel::MpiSession::started_by_launcher()) parallel::MpiSession::abort_all_ranks(exit_code);
  return exit_code;
}

void report_shortened_files() {
  struct sigaction action {};
  action.sa_sigaction = handle_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

void expect_the_end(int exit_code) { end_after(kLastDeadline, exit_code); }

void report_uncaught_exceptions() { std::set_terminate(on_terminate); }

}  // namespace rosa::launch
