#include "tests/support/job.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <thread>

#include "launch/guardian.h"

namespace rosa::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollInterval{10};
constexpr const char* kMarkName = "ROSA_TEST_JOB";

std::string read_all(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whether the block of NAME=VALUE texts, each ended by a zero byte, holds `entry`.
bool holds_entry(const std::string& environment, const std::string& entry) {
  const std::string block = std::string(1, '\0') + environment;
  return block.find(std::string(1, '\0') + entry + std::string(1, '\0')) != std::string::npos;
}

// The living processes whose environment holds `mark`, with that environment.
std::map<pid_t, std::string> marked_processes(const std::string& mark) {
  std::map<pid_t, std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, code] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (code != std::errc() || end != name.data() + name.size()) continue;
    std::string environment = read_all(entry.path() / "environ");
    if (holds_entry(environment, mark)) found.emplace(pid, std::move(environment));
  }
  return found;
}

std::string describe_process(pid_t pid) {
  std::string command = read_all("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(command.begin(), command.end(), '\0', ' ');
  return std::to_string(pid) + " " + command;
}

bool has_rank(const std::string& environment, int rank) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK=", "PMIX_RANK=", "SLURM_PROCID="}) {
    if (holds_entry(environment, name + std::to_string(rank))) return true;
  }
  return false;
}

// The rank's guardian (launch/guardian.h) is the same program in the same environment.
bool is_guardian(pid_t pid) {
  return read_all("/proc/" + std::to_string(pid) + "/comm") == std::string(launch::kGuardianName) + "\n";
}

std::string file_name_of_executable(pid_t pid) {
  std::error_code error;
  return fs::read_symlink("/proc/" + std::to_string(pid) + "/exe", error).filename().string();
}

std::vector<std::string> with_launcher(std::vector<std::string> command, const JobOptions& options) {
  if (options.num_ranks == 0) return command;
  // More ranks than cores are the rule in tests: waiting ranks give their core away.
  std::vector<std::string> all = {ROSA_MPIEXEC,
                                  "--allow-run-as-root",
                                  "--oversubscribe",
                                  "--bind-to",
                                  "none",
                                  "--mca",
                                  "mpi_yield_when_idle",
                                  "1",
                                  "-np",
                                  std::to_string(options.num_ranks)};
  all.insert(all.end(), options.launcher_options.begin(), options.launcher_options.end());
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

std::vector<std::string> whole_environment(const std::map<std::string, std::string>& additional) {
  std::map<std::string, std::string> values;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::size_t equals = text.find('=');
    values[text.substr(0, equals)] = equals == std::string::npos ? "" : text.substr(equals + 1);
  }
  for (const auto& [name, value] : additional) values[name] = value;
  std::vector<std::string> texts;
  for (const auto& [name, value] : values) texts.push_back(name + "=" + value);
  return texts;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::string new_mark() {
  static std::atomic<int> count{0};
  return std::to_string(getpid()) + "." + std::to_string(Clock::now().time_since_epoch().count()) + "." +
         std::to_string(count++);
}

}  // namespace

Job::Job(std::vector<std::string> command, JobOptions options)
    : mark_(new_mark()), orphan_deadline_(options.orphan_deadline), start_(Clock::now()) {
  program_ = fs::path(command.at(0)).filename().string();
  std::vector<std::string> arguments = with_launcher(std::move(command), options);
  options.environment[kMarkName] = mark_;
  mark_ = std::string(kMarkName) + "=" + mark_;
  std::vector<std::string> environment = whole_environment(options.environment);
  const std::vector<char*> argument_pointers = pointers(arguments), environment_pointers = pointers(environment);
  const int output = open((folder_ / "output").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (output < 0 || input < 0) throw std::runtime_error("Job: cannot open the output of " + arguments[0]);
  pid_ = fork();
  if (pid_ == 0) {
    // A group of its own: a Ctrl-C at the test's terminal and signals of the job do not meet.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (options.folder.empty() || chdir(options.folder.c_str()) == 0) {
      execvpe(argument_pointers[0], argument_pointers.data(), environment_pointers.data());
    }
    _exit(127);
  }
  close(output);
  close(input);
  if (pid_ < 0) throw std::runtime_error("Job: fork failed for " + arguments[0]);
  setpgid(pid_, 0);  // whoever of the two comes first
}

Job::~Job() { kill_everything(); }

void Job::send_signal(int signal) const {
  if (!ended_) kill(pid_, signal);
}

pid_t Job::rank_pid(int rank, Seconds deadline) const {
  const auto start = Clock::now();
  do {
    for (const auto& [pid, environment] : marked_processes(mark_)) {
      if (has_rank(environment, rank) && file_name_of_executable(pid) == program_ && !is_guardian(pid)) return pid;
    }
    std::this_thread::sleep_for(kPollInterval);
  } while (Clock::now() - start < deadline);
  throw std::runtime_error("Job: no process of rank " + std::to_string(rank) + "; the output is\n" + output());
}

void Job::send_signal_to_rank(int rank, int signal, Seconds deadline) const { kill(rank_pid(rank, deadline), signal); }

std::string Job::output() const { return read_all(folder_ / "output"); }

template <class Condition>
bool Job::poll(Seconds deadline, const Condition& condition) {
  const auto start = Clock::now();
  for (;;) {
    const bool over = has_ended() || Clock::now() - start >= deadline;
    if (condition()) return true;
    if (over) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
}

bool Job::wait_for_output(const std::string& text, Seconds deadline) {
  return poll(deadline, [&] { return output().find(text) != std::string::npos; });
}

bool Job::wait_for_path(const fs::path& path, Seconds deadline) {
  return poll(deadline, [&] { return fs::exists(path); });
}

bool Job::has_ended() {
  if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) {
    ended_ = true;
    seconds_ = Seconds(Clock::now() - start_).count();
  }
  return ended_;
}

JobResult Job::wait(Seconds deadline) {
  JobResult result;
  result.timed_out = !poll(deadline, [this] { return ended_; });
  if (result.timed_out) kill_everything();
  const auto end = Clock::now();
  std::map<pid_t, std::string> left = marked_processes(mark_);
  while (!left.empty() && Clock::now() - end < orphan_deadline_) {
    std::this_thread::sleep_for(kPollInterval);
    left = marked_processes(mark_);
  }
  for (const auto& [pid, environment] : left) result.orphans.push_back(describe_process(pid));
  result.orphan_seconds = Seconds(Clock::now() - end).count();
  kill_everything();
  result.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  result.seconds = seconds_;
  result.output = output();
  return result;
}

// Again and again, since what is killed may just have started something. What the kernel holds back is given up.
void Job::kill_everything() {
  const auto start = Clock::now();
  while (Clock::now() - start < kOrphanDeadline) {
    if (!has_ended()) kill(-pid_, SIGKILL);
    const auto left = marked_processes(mark_);
    for (const auto& [pid, environment] : left) kill(pid, SIGKILL);
    if (left.empty() && has_ended()) return;
    std::this_thread::sleep_for(kPollInterval);
  }
}

JobResult run_job(std::vector<std::string> command, JobOptions options, Seconds deadline) {
  return Job(std::move(command), std::move(options)).wait(deadline);
}

std::string rosa_program() { return ROSA_BINARY_DIR "/bin/rosa"; }

JobResult run_rosa(std::vector<std::string> arguments, JobOptions options, Seconds deadline) {
  arguments.insert(arguments.begin(), rosa_program());
  return run_job(std::move(arguments), std::move(options), deadline);
}

JobResult run_shell(const std::string& line, JobOptions options, Seconds deadline) {
  options.environment["R"] = rosa_program();
  return run_job({"/bin/bash", "-c", line}, std::move(options), deadline);
}

}  // namespace rosa::testing
