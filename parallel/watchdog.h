// Watchdog: a thread on each rank that tells the others what this rank does and judges what it hears of them: a rank
// that was killed, is frozen, hangs, or holds the others up. It names the culprit, not those that wait for it. What
// follows (message, stack traces, the end of the job) is its owner's.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/activity.h"
#include "base/config_problems.h"
#include "base/fields.h"
#include "parallel/communicator.h"

namespace rosa::parallel {

struct WatchdogConfig {
  double heartbeat_s = 5.0;            // 0: no watchdog
  int64_t hang_after_heartbeats = 60;  // without progress; the job ends
};

enum class Trouble {
  none,
  killed,    // its process is gone without a word
  frozen,    // its process is there, but its watchdog is silent (stopped, or the host is unreachable)
  hangs,     // its watchdog speaks, its training does not go on
  mismatch,  // all wait, but ranks of one group not in the same collective
  blocked,   // all wait, and the ranks of each group in the same collective
  holds_up   // slow: the others wait for it most of the time
};

using WatchTime = std::chrono::steady_clock::time_point;

// What one rank knows of another (or of itself).
struct RankView {
  bool heard = false;     // at least once
  bool finished = false;  // has left as it should, or has told an error: not watched any more
  bool gone = false;      // its host says that the process is not there
  WatchTime last_heard, last_progress;
  base::Activity activity;
  // Of the last two heartbeats: the share of the time in which others waited and this rank did not.
  double holding_share = 0.0;
};

struct Diagnosis {
  Trouble trouble = Trouble::none;
  std::vector<int> culprits;
};

// A pure function of what is known: the worst trouble and the ranks that cause it.
Diagnosis diagnose(const std::vector<RankView>& ranks, WatchTime now, const WatchdogConfig& config);

class HeartbeatChannel;

class Watchdog {
 public:
  struct Options {
    WatchdogConfig config;
    std::string host_name;
    // What this rank does; for tests another one than the process's own.
    std::function<base::Activity()> activity = base::current_activity;
    // The job can't go on: `text` names the culprits. Called once, on the watchdog's thread, on the lowest rank that
    // can speak, and on the next ones should the job still be there later. Is to end the job.
    std::function<void(Trouble trouble, const std::string& text)> on_verdict;
    // A rank is slow; called on the lowest rank that can speak, once for each time it becomes slow.
    std::function<void(const std::string& text)> on_straggler;
    // Stack traces of this rank are wanted, because of `text`. Called on every rank before a verdict, and on a slow
    // one.
    std::function<void(const std::string& text)> write_stacks;
    // Another rank has told an error or a verdict and is ending the job; called once.
    std::function<void()> on_end_of_job;
  };

  // Starts the thread. Collective: every rank calls it. Throws CommunicationError.
  Watchdog(Communicator& communicator, Options options);
  // Tells the others that this rank leaves: as it should, or, while an exception unwinds the stack, with an error.
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // The processes of the other ranks on this host.
  std::vector<int> local_processes() const;

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

void describe(base::FieldVisitor& visitor, WatchdogConfig& config);
void check(base::ConfigProblems& problems, const WatchdogConfig& config);

}  // namespace rosa::parallel
