// Session: the ranks that a subcommand runs on, and their log. MPI is used where a launcher started the process;
// without one there is a single rank and no MPI.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "base/folder_lock.h"
#include "launch/process.h"
#include "parallel/communicator.h"
#include "parallel/mpi_session.h"
#include "parallel/watchdog.h"

namespace rosa::launch {

class Session {
 public:
  // Collective: every rank calls it, on the main thread and before other threads. `watchdog`: the run's, where it is
  // known before MPI starts: the guardian goes by it from now on.
  explicit Session(const parallel::WatchdogConfig& watchdog = {});
  // Leaves MPI; the process is to end then.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  parallel::Communicator& communicator() { return *communicator_; }
  const Terminal& terminal() const { return terminal_; }
  bool is_main_rank() const { return communicator_->rank() == 0; }

  // Keeps other jobs out of a run's or experiment's folder (made where it is missing) until the session ends or takes
  // another folder; before anything in it is touched. Waits a while for the processes of a job that was killed.
  // Collective: every rank calls it. Throws FileError, naming who is there.
  void lock_folder(const std::filesystem::path& folder);

  // lock_folder(), and from now on every rank logs to logs/rank_NNNN.log in `run_folder`, and rank 0 also to
  // standard error. Collective: every rank calls it. Throws FileError.
  void start_log(const std::filesystem::path& run_folder);

  // Watches the ranks (launch/watch.h) from now on, until MPI is left: a rank may also fail when all is done. Called
  // again, it does so for another run folder. Collective: every rank calls it. Throws CommunicationError.
  void start_watchdog(const parallel::WatchdogConfig& config, const std::filesystem::path& run_folder);

 private:
  std::filesystem::path locked_folder_;
  std::optional<base::FolderLock> lock_;  // on rank 0
  std::unique_ptr<parallel::Watchdog> watchdog_;
  std::unique_ptr<parallel::MpiSession> mpi_;
  std::unique_ptr<parallel::Communicator> communicator_;
  Terminal terminal_;
  const int exceptions_at_start_;
};

}  // namespace rosa::launch
