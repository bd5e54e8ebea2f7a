#include "launch/last_word.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "base/error.h"
#include "launch/process.h"

namespace rosa::launch {
namespace {

constexpr long kOtherHostsWait_ns = 1'500'000'000;
// How long a launcher may take to read what a process has said.
constexpr int kReadDeadline_ms = 1000;

void sleep_ns(long time_ns) {
  const timespec time{.tv_sec = time_ns / 1'000'000'000, .tv_nsec = time_ns % 1'000'000'000};
  nanosleep(&time, nullptr);
}

// This process has the word. Standard error as it was before it fell silent; -1: it has not.
std::atomic<bool> is_speaking{false};
std::atomic<int> standard_error{-1};

bool begin_speech() {
  is_speaking = true;
  if (standard_error >= 0) dup2(standard_error, STDERR_FILENO);
  return true;
}

using Path = std::array<char, PATH_MAX>;

// In memory that a guardian shares; empty: no such file.
struct Files {
  std::atomic<bool> in_run_folder{false};
  Path run_folder{}, host{}, host_stop{};
  bool has_other_ranks = false, spans_hosts = false;
  int rank = 0;
};

Files* files = nullptr;

enum class Claim { won, lost, impossible };

// Only one process can make a file.
Claim claim(const Path& file, const char* text) {
  if (file[0] == '\0') return Claim::impossible;
  const int descriptor = open(file.data(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (descriptor < 0) return errno == EEXIST ? Claim::lost : Claim::impossible;
  [[maybe_unused]] const ssize_t written = write(descriptor, text, std::strlen(text));  // who won matters, not the text
  close(descriptor);
  return Claim::won;
}

bool exists(const Path& file) { return file[0] != '\0' && access(file.data(), F_OK) == 0; }

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A path that is too long is none.
void set(Path& file, const std::string& text) {
  if (text.size() < file.size()) std::memcpy(file.data(), text.c_str(), text.size() + 1);
}

// The folder that the launcher has made on this host for this job and will remove.
std::filesystem::path host_folder() {
  for (const char* name : {"PMIX_SERVER_TMPDIR", "OMPI_MCA_orte_jobfam_session_dir"}) {
    const std::filesystem::path folder = environment(name);
    if (!folder.empty() && access(folder.c_str(), W_OK) == 0) return folder;
  }
  return {};
}

}  // namespace

void prepare_last_word(bool has_other_ranks) {
  void* memory = mmap(nullptr, sizeof(Files), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  static Files own;  // where there is no such memory, a guardian does not learn of the run's folder
  files = memory == MAP_FAILED ? &own : new (memory) Files();
  files->has_other_ranks = has_other_ranks;
  files->rank = rank_of_process();
  files->spans_hosts =
      std::string_view(environment("OMPI_COMM_WORLD_SIZE")) != environment("OMPI_COMM_WORLD_LOCAL_SIZE");
  const std::filesystem::path folder = has_other_ranks ? host_folder() : std::filesystem::path();
  if (folder.empty()) return;
  set(files->host, folder / "rosa_failure");
  set(files->host_stop, folder / "rosa_stop");
}

void agree_in(const std::filesystem::path& folder, const std::string& job) {
  if (files == nullptr || !files->has_other_ranks) return;
  files->in_run_folder = false;
  set(files->run_folder, std::filesystem::absolute(folder) / base::concat("failure_", job, ".txt"));
  files->in_run_folder = true;
}

bool may_speak(const char* text) {
  if (files == nullptr || !files->has_other_ranks) return true;
  Claim result = files->in_run_folder ? claim(files->run_folder, text) : Claim::impossible;
  if (result == Claim::won) return begin_speech();
  if (result == Claim::lost) return false;
  result = claim(files->host, text);
  if (result == Claim::lost) return false;
  if (files->rank != 0 && (result == Claim::impossible || files->spans_hosts)) sleep_ns(kOtherHostsWait_ns);
  return begin_speech();
}

void end_speech() {
  int unread = 0;
  for (int time_ms = 0; time_ms < kReadDeadline_ms; ++time_ms) {
    if (ioctl(STDERR_FILENO, FIONREAD, &unread) != 0 || unread <= 0) break;
    sleep_ns(1'000'000);
  }
  is_speaking = false;
  be_silent();
}

bool has_been_spoken() {
  if (files == nullptr || !files->has_other_ranks) return false;
  return (files->in_run_folder && exists(files->run_folder)) || exists(files->host);
}

void be_silent() {
  if (is_speaking) return;
  const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere < 0) return;
  // Kept for the case that this process is to speak after all: ranks that fail alike learn of each other first.
  if (standard_error < 0) standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  dup2(nowhere, STDERR_FILENO);
  close(nowhere);
  if (is_speaking) dup2(standard_error, STDERR_FILENO);  // since the question above
}

void be_silent_when_woken_by_the_end() {
  struct sigaction action {};
  action.sa_handler = [](int) {
    const int saved_errno = errno;
    if (has_been_spoken()) be_silent();
    errno = saved_errno;
  };
  action.sa_flags = SA_RESTART;
  sigaction(SIGCONT, &action, nullptr);
}

bool may_answer_stop() {
  if (files == nullptr || !files->has_other_ranks) return true;
  if (has_been_spoken()) return false;  // the launcher ends the rest of a job that failed
  const Claim result = claim(files->host_stop, "");
  return result == Claim::won || (result == Claim::impossible && files->rank == 0);
}

}  // namespace rosa::launch
