#include "base/line_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <exception>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace rosa::base {
namespace {

constexpr double kSecondsOfAnUnwinding = 2.0;
constexpr auto kPause = std::chrono::milliseconds(10);

using Clock = std::chrono::steady_clock;

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string reason_of(int error_number) { return std::generic_category().message(error_number); }

// With these a program that uses MPI itself would take itself for a rank of the run.
bool is_of_mpi(std::string_view variable) {
  constexpr std::array kPrefixes = {"OMPI_", "PMIX_", "PRTE_", "PMI_", "HYDRA_"};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [variable](const char* prefix) { return variable.starts_with(prefix); });
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& added) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (!is_of_mpi(text) && !added.contains(std::string(text.substr(0, text.find('='))))) variables.emplace_back(text);
  }
  for (const auto& [name, value] : added) variables.push_back(name + "=" + value);
  return variables;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// posix_spawn, which is safe beside threads and MPI, of `command`; 0 or the number of the error.
int spawn(const std::string& command, const std::map<std::string, std::string>& environment, int input, int output,
          pid_t& pid) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> arguments = {"/bin/sh", "-c", command}, variables = environment_with(environment);
  const int error =
      posix_spawn(&pid, "/bin/sh", &actions, &attributes, pointers_to(arguments).data(), pointers_to(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

std::string end_text(int status) {
  return WIFSIGNALED(status) ? concat("was ended by signal ", WTERMSIG(status))
                             : concat("ended with exit status ", WEXITSTATUS(status));
}

}  // namespace

LineCommand::LineCommand(LineCommandOptions options)
    : options_(std::move(options)), exceptions_at_start_(std::uncaught_exceptions()) {
  start();
}

LineCommand::~LineCommand() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    options_.drain_s = options_.exit_s = options_.kill_s = kSecondsOfAnUnwinding;
  }
  finish();
}

void LineCommand::start() {
  std::array<int, 2> ends{-1, -1};
  int error = ::pipe2(ends.data(), O_CLOEXEC) == 0 ? 0 : errno;
  const FileDescriptor read_end(ends[0]);
  FileDescriptor write_end(ends[1]), log(-1);
  if (error == 0 && ::fcntl(write_end.get(), F_SETFL, O_NONBLOCK) != 0) error = errno;
  try {
    log = open_regular_file(options_.log_file, O_WRONLY | O_APPEND | O_CREAT);
  } catch (const FileError& failure) {
    warn(concat("what it prints goes nowhere: ", failure.what()));
    log = FileDescriptor(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  }
  if (error == 0) error = spawn(options_.command, options_.environment, read_end.get(), log.get(), pid_);
  if (error == 0) {
    input_ = std::move(write_end);
  } else {
    pid_ = -1;
    warn(concat("can't be started: ", reason_of(error)));
  }
}

void LineCommand::write(std::string_view line) {
  if (input_.get() < 0) return;
  waiting_.push_back(std::string(line) + "\n");
  waiting_bytes_ += static_cast<int64_t>(waiting_.back().size());
  poll();
  drop_beyond_bound();
}

void LineCommand::poll() {
  while (input_.get() >= 0 && !waiting_.empty()) {
    const std::string& line = waiting_.front();
    const ssize_t count = ::write(input_.get(), line.data() + num_written_, line.size() - num_written_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) {
      const int error_number = errno;
      // Its end follows at once, or it has only closed its input.
      if (!wait_for_end(1.0)) warn(concat("takes no more lines (", reason_of(error_number), "); the run goes on"));
      input_ = FileDescriptor(-1);
      return;
    }
    num_written_ += static_cast<size_t>(count);
    if (num_written_ < line.size()) continue;
    waiting_bytes_ -= static_cast<int64_t>(line.size());
    waiting_.pop_front();
    num_written_ = 0;
  }
  has_ended();
}

void LineCommand::drop_beyond_bound() {
  const size_t first = num_written_ > 0 ? 1 : 0;  // half a line is never left
  while (waiting_bytes_ > options_.max_waiting_bytes && waiting_.size() > first) {
    if (num_dropped_++ == 0) {
      warn(concat("takes its lines too slowly: ", options_.max_waiting_bytes >> 10,
                  " KiB of them wait, and the oldest are dropped"));
    }
    waiting_bytes_ -= static_cast<int64_t>(waiting_[first].size());
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(first));
  }
}

bool LineCommand::has_ended() {
  if (pid_ < 0) return true;
  int status = 0;
  const pid_t ended = ::waitpid(pid_, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
  const bool is_known = ended == pid_;
  pid_ = -1;
  const bool is_early = input_.get() >= 0;
  if (is_early) {
    warn(concat(is_known ? end_text(status) : std::string("is gone"), "; the run goes on without it", see_log()));
  } else if (!is_known || status != 0) {
    warn((is_known ? end_text(status) : std::string("is gone")) + see_log());
  }
  input_ = FileDescriptor(-1);
  return true;
}

bool LineCommand::wait_for_end(double seconds) {
  const auto deadline = after(seconds);
  while (!has_ended()) {
    if (Clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

void LineCommand::finish() {
  const auto deadline = after(options_.drain_s);
  for (poll(); input_.get() >= 0 && !waiting_.empty() && Clock::now() < deadline; poll()) {
    pollfd input{input_.get(), POLLOUT, 0};
    ::poll(&input, 1, static_cast<int>(kPause.count()));
  }
  if (input_.get() >= 0) num_dropped_ += static_cast<int64_t>(waiting_.size());
  waiting_.clear();
  if (num_dropped_ > 0) warn(concat(std::exchange(num_dropped_, 0), " lines did not reach it"));
  input_ = FileDescriptor(-1);
  if (!wait_for_end(options_.exit_s)) end_by_force();
}

void LineCommand::end_by_force() {
  warn(concat("has not ended ", options_.exit_s, " s after its input did: it gets TERM"));
  ::kill(-pid_, SIGTERM);
  if (wait_for_end(options_.kill_s)) return;
  ::kill(-pid_, SIGKILL);
  wait_for_end(options_.kill_s);
}

void LineCommand::warn(const std::string& text) const {
  options_.warn(concat(options_.name, " '", options_.command, "' ", text));
}

std::string LineCommand::see_log() const { return concat(" (its output: ", options_.log_file.string(), ")"); }

}  // namespace rosa::base
