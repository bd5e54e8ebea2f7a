#include "launch/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "base/activity.h"
#include "base/error.h"
#include "base/file.h"
#include "base/host_name.h"
#include "launch/exit_code.h"
#include "launch/guardian.h"
#include "launch/last_word.h"

namespace rosa::launch {
namespace {

constexpr std::array kStopSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

volatile std::sig_atomic_t first_stop_signal = 0;
volatile std::sig_atomic_t interrupts = 0;

// What handlers need is at hand before one may run: they allocate nothing.
struct Speaker {
  std::array<char, 320> name{};  // "rosa: rank 1 on node2: "
  bool clears_line = false;      // a progress bar may stand there
};
Speaker speaker;

// A line of fixed length at most, for signal handlers.
class SignalLine {
 public:
  SignalLine& operator<<(const char* text) {
    const std::size_t size = std::min(std::strlen(text), text_.size() - size_);
    std::memcpy(text_.data() + size_, text, size);
    size_ += size;
    return *this;
  }
  SignalLine& operator<<(int64_t number) {
    std::array<char, 24> digits{};
    std::to_chars(digits.data(), digits.data() + digits.size() - 1, number);
    return *this << digits.data();
  }
  void write_to_stderr() const { [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text_.data(), size_); }

 private:
  std::array<char, 512> text_{};
  std::size_t size_ = 0;
};

const char* name_of_signal(int signal) {
  switch (signal) {
    case SIGINT:
      return "INT";
    case SIGTERM:
      return "TERM";
    case SIGHUP:
      return "HUP";
    default:
      return "USR1";
  }
}

void begin_answer(SignalLine& line, int signal) {
  if (speaker.clears_line) line << "\r\033[J";
  line << speaker.name.data() << name_of_signal(signal) << ": ";
}

// There is nothing to save.
void on_signal_at_rest(int signal) {
  guardian_is_silent_from_now_on();
  if (may_answer_stop()) {
    SignalLine line;
    begin_answer(line, signal);
    line << "stopped while there was nothing to save, exit code " << kExitStopped << "\n";
    line.write_to_stderr();
  }
  _exit(kExitStopped);
}

void answer_stop(int signal) {
  if (!may_answer_stop()) return;
  const base::Activity activity = base::current_activity();
  SignalLine line;
  begin_answer(line, signal);
  if (activity.step < 0 || activity.phase == base::Phase::starting) {
    line << "stopping before the next step";
  } else {
    line << "finishing step " << activity.step + 1 << ", saving";
  }
  line << ", then exit code " << kExitStopped << (signal == SIGINT ? "; Ctrl-C again ends at once\n" : "\n");
  line.write_to_stderr();
}

// May be called any number of times, also while it runs.
void on_stop_signal(int signal) {
  const int saved_errno = errno;
  if (signal == SIGTERM) guardian_expects_a_kill();
  if (signal == SIGINT) interrupts = interrupts + 1;
  // Whoever presses Ctrl-C twice does not want to wait for the step.
  if (interrupts > 1) {
    guardian_is_silent_from_now_on();
    _exit(kExitInterrupted);
  }
  if (first_stop_signal == 0) {
    first_stop_signal = signal;
    answer_stop(signal);
  }
  errno = saved_errno;
}

void note_signal(int signal) {
  if (first_stop_signal == 0) first_stop_signal = signal;
}

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

void handle(int signal, void (*handler)(int), int flags = SA_RESTART) {
  if (signal == SIGHUP && is_ignored(signal)) return;
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigaction(signal, &action, nullptr);
}

void prepare_speaker() {
  const std::string name = base::concat("rosa: rank ", rank_of_process(), " on ", base::host_name(), ": ");
  std::strncpy(speaker.name.data(), name.c_str(), speaker.name.size() - 1);
}

bool is_mpi_launcher(std::string_view command) {
  return command == "mpirun" || command == "mpiexec" || command == "orterun" || command == "prterun";
}

// The file behind a descriptor of the mpirun that started this process, or empty. mpirun hands a rank pseudo-terminals
// and pipes whatever its own outputs are, so only its own descriptors tell.
std::string launcher_output() {
  const std::string parent = "/proc/" + std::to_string(getppid());
  std::string command;
  std::getline(std::ifstream(parent + "/comm"), command);
  if (!is_mpi_launcher(command)) return "";
  std::error_code error;
  return std::filesystem::read_symlink(parent + "/fd/2", error).string();
}

Terminal terminal_at(int descriptor) {
  Terminal terminal;
  terminal.is_terminal = isatty(descriptor) != 0;
  winsize size{};
  if (!terminal.is_terminal || ioctl(descriptor, TIOCGWINSZ, &size) != 0) return terminal;
  if (size.ws_col > 0) terminal.num_columns = size.ws_col;
  if (size.ws_row > 0) terminal.num_rows = size.ws_row;
  return terminal;
}

}  // namespace

int rank_of_process() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    const char* text = std::getenv(name);
    if (text == nullptr) continue;
    const std::string_view digits = text;
    int rank = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), rank).ec == std::errc()) return rank;
  }
  return 0;
}

Terminal find_terminal() {
  const std::string launcher = launcher_output();
  if (launcher.empty()) return terminal_at(STDERR_FILENO);
  if (!launcher.starts_with("/dev/")) return {};
  const base::FileDescriptor descriptor(open(launcher.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC));
  return descriptor.get() < 0 ? Terminal{} : terminal_at(descriptor.get());
}

void end_on_stop_signals(bool with_interrupts) {
  prepare_speaker();
  for (const int signal : {SIGTERM, SIGHUP, SIGUSR1}) handle(signal, on_signal_at_rest);
  if (with_interrupts) handle(SIGINT, on_signal_at_rest);
}

void listen_for_stop_signals() {
  prepare_speaker();
  speaker.clears_line = find_terminal().is_terminal;
  for (const int signal : kStopSignals) handle(signal, on_stop_signal);
}

void note_stop_signals() {
  for (const int signal : kStopSignals) {
    if (!is_ignored(signal)) handle(signal, note_signal, /*flags=*/0);
  }
}

bool wait_for_stop(int seconds) {
  sigset_t signals{}, before{};
  sigemptyset(&signals);
  for (const int signal : kStopSignals) sigaddset(&signals, signal);
  // Blocked, so that none comes between the look and the wait.
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  const timespec time = {seconds, 0};
  if (!stop_requested()) ppoll(nullptr, 0, &time, &before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return stop_requested();
}

bool stop_requested() { return first_stop_signal != 0; }

int stop_signal() { return first_stop_signal; }

}  // namespace rosa::launch
