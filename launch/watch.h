// The watchdog of a run: what is said, written and ended when a rank is killed, frozen, hangs or is slow.
#pragma once

#include <filesystem>
#include <memory>

#include "parallel/watchdog.h"

namespace rosa::launch {

// How long a rank may be stopped, or take to end, before its guardian (launch/guardian.h) kills it, in seconds; 0: for
// ever. Later than any watchdog: where other ranks can see this one they come first.
double guardian_limit_s(const parallel::WatchdogConfig& config);

// Starts the watchdog of this rank; null where config.heartbeat_s is 0. A verdict is reported as any failure and ends
// the job with kExitWatchdog; stack traces go to logs/rank_NNNN.stacks.txt of the run folder. Collective: every rank
// calls it. Throws CommunicationError.
std::unique_ptr<parallel::Watchdog> make_watchdog(const parallel::WatchdogConfig& config,
                                                  const std::filesystem::path& run_folder,
                                                  parallel::Communicator& communicator);

}  // namespace rosa::launch
