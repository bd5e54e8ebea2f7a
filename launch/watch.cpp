#include "launch/watch.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/host_name.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/stack_trace.h"
#include "launch/exit_code.h"
#include "launch/failure.h"
#include "launch/last_word.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;

// For the other ranks to write their stacks.
constexpr std::chrono::milliseconds kTimeForStacks{1000};

fs::path stacks_file(const fs::path& logs, int rank) {
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), "rank_%04d.stacks.txt", rank);
  return logs / name.data();
}

// The traces help to understand a failure; that they can't be written is none.
void write_stacks(const fs::path& file, const std::string& reason) {
  try {
    base::write_stack_traces(file, reason);
  } catch (const base::Error& error) {
    base::log_warning(base::concat("no stack traces: ", error.what()));
  }
}

}  // namespace

// What the watchdog takes to call it a hang, and the time in which an ended job is to be gone.
double guardian_limit_s(const parallel::WatchdogConfig& config) {
  constexpr double kTimeToEnd_s = 10.0;
  if (config.heartbeat_s <= 0.0) return 0.0;
  return config.heartbeat_s * static_cast<double>(config.hang_after_heartbeats) + kTimeToEnd_s;
}

std::unique_ptr<parallel::Watchdog> make_watchdog(const parallel::WatchdogConfig& config, const fs::path& run_folder,
                                                  parallel::Communicator& communicator) {
  if (config.heartbeat_s <= 0.0) return nullptr;
  base::prepare_stack_traces();
  const fs::path logs = run_folder / "logs";
  parallel::Watchdog::Options options;
  options.config = config;
  options.host_name = base::host_name();
  options.on_straggler = [](const std::string& text) { base::log_warning(text); };
  options.write_stacks = [file = stacks_file(logs, communicator.rank())](const std::string& reason) {
    write_stacks(file, reason);
  };
  options.on_end_of_job = [] {
    base::silence_console();
    be_silent();
    expect_the_end(kExitWatchdog);
  };
  options.on_verdict = [logs](parallel::Trouble, const std::string& text) {
    std::this_thread::sleep_for(kTimeForStacks);
    report_failure(base::printable(base::concat(text, ". Stack traces: ", logs.string(), "/rank_*.stacks.txt")),
                   kExitWatchdog);
    std::_Exit(kExitWatchdog);
  };
  auto watchdog = std::make_unique<parallel::Watchdog>(communicator, std::move(options));
  set_local_ranks(watchdog->local_processes());
  return watchdog;
}

}  // namespace rosa::launch
