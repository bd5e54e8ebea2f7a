#include "base/stack_trace.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <memory>
#include <mutex>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"

namespace rosa::base {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxFrames = 64;
constexpr int kAnswerSeconds = 1;

int trace_signal() { return SIGRTMIN + 6; }

// Where the interrupted thread leaves its stack. A thread that answers after it was given up finds another number.
std::atomic<pid_t> asked_thread{0};
std::array<void*, kMaxFrames> frames;
int num_frames = 0;
sem_t answered;

pid_t thread_number() { return static_cast<pid_t>(syscall(SYS_gettid)); }

void on_trace_signal(int) {
  const int saved_errno = errno;
  pid_t expected = thread_number();
  if (asked_thread.compare_exchange_strong(expected, -1)) {
    num_frames = backtrace(frames.data(), kMaxFrames);
    sem_post(&answered);
  }
  errno = saved_errno;
}

bool wait_for_answer() {
  timespec deadline{};
  clock_gettime(CLOCK_REALTIME, &deadline);
  deadline.tv_sec += kAnswerSeconds;
  while (sem_timedwait(&answered, &deadline) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

// Asks one thread for its stack; false where it does not answer.
bool take_stack(pid_t thread) {
  if (thread == thread_number()) {
    num_frames = backtrace(frames.data(), kMaxFrames);
    return true;
  }
  asked_thread = thread;
  if (syscall(SYS_tgkill, getpid(), thread, trace_signal()) == 0 && wait_for_answer()) return true;
  // Either it never began, or it is at it and will be done at once.
  pid_t expected = thread;
  if (asked_thread.compare_exchange_strong(expected, 0)) return false;
  return wait_for_answer();
}

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status), std::free);
  return status == 0 ? text.get() : name;
}

std::string describe_frame(void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return concat(address);
  const std::string module = fs::path(info.dli_fname).filename().string();
  const auto offset = [&](const void* base) {
    return concat("+0x", std::hex, static_cast<const char*>(address) - static_cast<const char*>(base));
  };
  if (info.dli_sname == nullptr) return concat(module, offset(info.dli_fbase));
  return concat(demangled(info.dli_sname), offset(info.dli_saddr), "  (", module, offset(info.dli_fbase), ")");
}

std::vector<pid_t> threads_of(const std::string& process) {
  std::vector<pid_t> threads;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/" + process + "/task", error)) {
    const std::string name = entry.path().filename().string();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    threads.push_back(thread);
  }
  std::sort(threads.begin(), threads.end());
  return threads;
}

std::string first_line(const std::string& path) {
  std::string line;
  std::getline(std::ifstream(path), line);
  return line;
}

// "thread 123 (rosa), state S (sleeping), in futex_wait_queue"
std::string thread_heading(const std::string& process, pid_t thread) {
  const std::string folder = concat("/proc/", process, "/task/", thread, "/");
  std::string state = "unknown";
  std::ifstream status(folder + "status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("State:")) state = line.substr(line.find_first_not_of(" \t", 6));
  }
  const std::string place = first_line(folder + "wchan");
  return concat("thread ", thread, " (", first_line(folder + "comm"), "), state ", state,
                place.empty() || place == "0" ? "" : ", in " + place);
}

// Only a file that is there and can be read is kept.
std::string with_earlier(const fs::path& file, const std::string& text) {
  constexpr size_t kMaxBytes = 1 << 20;
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return text;
  std::ostringstream earlier;
  earlier << stream.rdbuf();
  return (text + "\n" + earlier.str()).substr(0, std::max(kMaxBytes, text.size()));
}

}  // namespace

void prepare_stack_traces() {
  sem_init(&answered, 0, 0);
  // The first call loads a library, which a signal handler must not do.
  backtrace(frames.data(), kMaxFrames);
  struct sigaction action {};
  action.sa_handler = on_trace_signal;
  action.sa_flags = SA_RESTART;
  sigaction(trace_signal(), &action, nullptr);
}

void write_stack_traces(const fs::path& file, const std::string& heading) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::ostringstream text;
  text << heading << "\n";
  for (const pid_t thread : threads_of("self")) {
    text << "\n" << thread_heading("self", thread) << "\n";
    if (!take_stack(thread)) {
      text << "  does not answer\n";
      continue;
    }
    for (int index = 0; index < num_frames; ++index) {
      text << "  #" << index << " " << describe_frame(frames[static_cast<std::size_t>(index)]) << "\n";
    }
  }
  write_file_atomically(file, with_earlier(file, text.str()));
}

std::string thread_states(int pid) {
  std::string text;
  for (const pid_t thread : threads_of(std::to_string(pid))) {
    text += thread_heading(std::to_string(pid), thread) + "\n";
  }
  return text;
}

}  // namespace rosa::base
