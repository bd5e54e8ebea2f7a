#include "launch/process.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>

#include "launch/exit_code.h"

namespace rosa::launch {
namespace {

volatile std::sig_atomic_t stop_signals = 0;
volatile std::sig_atomic_t interrupts = 0;

// May be called any number of times, also while it runs: it only sets flags.
void on_stop_signal(int signal) {
  stop_signals = 1;
  if (signal != SIGINT) return;
  interrupts = interrupts + 1;
  // Whoever presses Ctrl-C twice does not want to wait for the step.
  if (interrupts > 1) _exit(kExitInterrupted);
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

int columns_of(int descriptor) {
  winsize size{};
  return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
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
  Terminal terminal;
  const std::string launcher = launcher_output();
  if (launcher.empty()) {
    terminal.is_terminal = isatty(STDERR_FILENO) != 0;
    if (terminal.is_terminal) terminal.num_columns = columns_of(STDERR_FILENO);
    return terminal;
  }
  if (!launcher.starts_with("/dev/")) return terminal;
  const int descriptor = open(launcher.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) return terminal;
  terminal.is_terminal = isatty(descriptor) != 0;
  if (terminal.is_terminal) terminal.num_columns = columns_of(descriptor);
  close(descriptor);
  return terminal;
}

void listen_for_stop_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    action.sa_flags = SA_RESTART;
    sigaction(signal, &action, nullptr);
  }
}

bool stop_requested() { return stop_signals != 0; }

}  // namespace rosa::launch
