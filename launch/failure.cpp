#include "launch/failure.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/host_name.h"
#include "base/log.h"
#include "base/mapped_file.h"
#include "launch/exit_code.h"
#include "launch/process.h"
#include "parallel/mpi_session.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

// How long MPI_Abort may take to end a job, and a rank that has spoken to call it.
constexpr milliseconds kAbortDeadline{3000};
constexpr milliseconds kLastDeadline{8000};
// Where hosts have nothing in common but the launcher, rank 0's host speaks first.
constexpr milliseconds kOtherHostsWait{1500};

std::mutex mutex;
fs::path agreed_folder;
std::string agreed_job;
std::vector<int> local_ranks;
std::atomic<bool> speaks{false};  // a thread of this process reports

enum class Claim { won, lost, impossible };

// Only one process can make a file.
Claim claim(const fs::path& file, const std::string& text) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return errno == EEXIST ? Claim::lost : Claim::impossible;
  [[maybe_unused]] const ssize_t written =
      write(descriptor, text.data(), text.size());  // who won matters, not the text
  close(descriptor);
  return Claim::won;
}

const char* environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool spans_hosts() {
  return std::string_view(environment("OMPI_COMM_WORLD_SIZE")) != environment("OMPI_COMM_WORLD_LOCAL_SIZE");
}

Claim claim_in_run_folder(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (agreed_folder.empty()) return Claim::impossible;
  return claim(agreed_folder / ("failure_" + agreed_job + ".txt"), text);
}

// In the folder that the launcher has made on this host for this job and will remove.
Claim claim_on_host(const std::string& text) {
  for (const char* name : {"PMIX_SERVER_TMPDIR", "OMPI_MCA_orte_jobfam_session_dir"}) {
    const fs::path folder = environment(name);
    if (folder.empty()) continue;
    const Claim result = claim(folder / "rosa_failure", text);
    if (result != Claim::impossible) return result;
  }
  return Claim::impossible;
}

bool may_speak(const std::string& text) {
  if (!parallel::MpiSession::started_by_launcher()) return true;
  Claim result = claim_in_run_folder(text);
  if (result != Claim::impossible) return result == Claim::won;
  result = claim_on_host(text);
  if (result == Claim::lost) return false;
  if (rank_of_process() != 0 && (result == Claim::impossible || spans_hosts())) {
    std::this_thread::sleep_for(kOtherHostsWait);
  }
  return true;
}

void kill_local_ranks() {
  const std::lock_guard lock(mutex);
  std::error_code error;
  const fs::path own_program = fs::read_symlink("/proc/self/exe", error);
  for (const int pid : local_ranks) {
    // A number may belong to somebody else by now.
    if (fs::read_symlink(base::concat("/proc/", pid, "/exe"), error) == own_program) kill(pid, SIGKILL);
  }
}

// Where MPI does not end the job: the ranks of this host, and this process. The launcher sees processes that ended with
// an error and ends the rest.
void end_without_mpi(int exit_code) {
  kill_local_ranks();
  std::_Exit(exit_code);
}

void end_after(milliseconds time, int exit_code) {
  std::thread([time, exit_code] {
    std::this_thread::sleep_for(time);
    end_without_mpi(exit_code);
  }).detach();
}

}  // namespace

void agree_on_failures_in(const fs::path& folder, const std::string& job) {
  const std::lock_guard lock(mutex);
  agreed_folder = folder;
  agreed_job = job;
}

void set_local_ranks(std::vector<int> pids) {
  const std::lock_guard lock(mutex);
  local_ranks = std::move(pids);
}

int report_failure(const std::string& what, int exit_code) {
  if (speaks.exchange(true)) {
    // Another thread ends this process.
    std::this_thread::sleep_for(kLastDeadline);
    std::_Exit(exit_code);
  }
  const std::string text = base::concat("rosa: rank ", rank_of_process(), " on ", base::host_name(), ": ", what);
  if (may_speak(text)) {
    base::log_last_words(text);
  } else {
    // The rank that speaks ends this one.
    std::this_thread::sleep_for(kAbortDeadline);
  }
  // MPI_Abort may need what a thread that is stuck in MPI holds.
  end_after(kAbortDeadline, exit_code);
  parallel::MpiSession::abort_all_ranks(exit_code);
  return exit_code;
}

namespace {

// The thread was reading mapped memory, so that it holds no lock of the system's library: all may be called here.
void handle_bus_error(int, siginfo_t* info, void*) {
  const std::string path = base::mapped_file_at(info->si_addr);
  if (path.empty()) {
    signal(SIGBUS, SIG_DFL);  // not ours: the same instruction ends the process
    return;
  }
  std::_Exit(report_failure(base::concat("'", path, "' was shortened while it was in use, or can't be read any more; ",
                                         "write a new version beside it and rename it, then start again"),
                            kExitFileSystem));
}

}  // namespace

void report_shortened_files() {
  struct sigaction action {};
  action.sa_sigaction = handle_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

void expect_the_end(int exit_code) { end_after(kLastDeadline, exit_code); }

}  // namespace rosa::launch
