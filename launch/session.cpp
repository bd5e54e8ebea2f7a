#include "launch/session.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <random>
#include <string>
#include <system_error>

#include "base/activity.h"
#include "base/error.h"
#include "base/log.h"
#include "launch/guardian.h"
#include "launch/last_word.h"
#include "launch/terminal_line.h"
#include "launch/watch.h"
#include "parallel/mpi_communicator.h"
#include "parallel/single_communicator.h"

namespace rosa::launch {

namespace {

// So long the processes of a job that was killed may go on to hold its folder.
constexpr std::chrono::seconds kEndOfKilledJob(10);

}  // namespace

Session::Session(const parallel::WatchdogConfig& watchdog)
    : terminal_(find_terminal()), exceptions_at_start_(std::uncaught_exceptions()) {
  set_guardian_limit(guardian_limit_s(watchdog));
  if (parallel::MpiSession::started_by_launcher()) {
    mpi_ = std::make_unique<parallel::MpiSession>(nullptr, nullptr);
    communicator_ = parallel::make_mpi_communicator();
  } else {
    communicator_ = parallel::make_single_communicator();
  }
}

Session::~Session() {
  communicator_.reset();
  mpi_.reset();
  watchdog_.reset();  // outlives MPI
  guardian_expects_the_end();
  if (std::uncaught_exceptions() > exceptions_at_start_) return;
  const base::PhaseScope phase(base::Phase::left);
}

void Session::lock_folder(const std::filesystem::path& folder) {
  if (locked_folder_ == folder) return;
  lock_.reset();
  if (is_main_rank()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    base::require<base::FileError>(!error, "can't create ", folder.string(), ": ", error.message());
    lock_.emplace(folder, kEndOfKilledJob);
  }
  communicator_->barrier();
  locked_folder_ = folder;
}

void Session::start_log(const std::filesystem::path& run_folder) {
  lock_folder(run_folder);
  const std::filesystem::path folder = run_folder / "logs";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  base::require<base::FileError>(!error, "cannot create ", folder.string(), ": ", error.message());
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "rank_%04d.log", communicator_->rank());
  // Another run of the same folder has its own file to agree on.
  std::random_device random;
  agree_in(folder, communicator_->broadcast_text(std::to_string(random()), /*root=*/0));
  base::LogOptions options;
  options.rank = communicator_->rank();
  options.world_size = communicator_->world_size();
  options.file = folder / name.data();
  options.info_to_console = is_main_rank();
  options.console_is_closed = has_been_spoken;
  if (is_main_rank() && terminal_.is_terminal) options.console = write_above_terminal_line;
  base::start_log(options);
}

void Session::start_watchdog(const parallel::WatchdogConfig& config, const std::filesystem::path& run_folder) {
  watchdog_.reset();
  set_guardian_limit(guardian_limit_s(config));
  watchdog_ = make_watchdog(config, run_folder, *communicator_);
}

}  // namespace rosa::launch
