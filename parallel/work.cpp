#include "parallel/work.h"

#include <algorithm>
#include <thread>

#include "base/activity.h"
#include "base/error.h"

namespace rosa::parallel {

using base::concat;

Work::Clock::time_point deadline_after(double seconds) {
  // Bounded, so that a limit of "never" does not overflow the clock.
  const std::chrono::duration<double> length(std::clamp(seconds, 0.0, 1e9));
  return Work::Clock::now() + std::chrono::duration_cast<Work::Clock::duration>(length);
}

bool poll_until(Work::Clock::time_point deadline, std::chrono::microseconds longest_pause,
                const std::function<bool()>& poll) {
  constexpr int kPollsBeforeSleep = 200;
  for (int num_polls = 0; !poll(); ++num_polls) {
    if (Work::Clock::now() > deadline) return false;
    if (num_polls < kPollsBeforeSleep || longest_pause.count() == 0) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::min(std::chrono::microseconds(num_polls), longest_pause));
    }
  }
  return true;
}

std::string ranks_text(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t index = 0; index < ranks.size(); ++index) {
    const char* separator = index == 0 ? "" : index + 1 == ranks.size() ? " and " : ", ";
    text += concat(separator, ranks[index]);
  }
  return text;
}

std::string RankGroup::ranks_text(const std::vector<int>& ranks) const {
  std::vector<int> of_job;
  for (const int rank : ranks) of_job.push_back(world_rank(rank));
  return parallel::ranks_text(of_job);
}

std::string RankGroup::of_group() const { return name.empty() ? "" : concat(" of group ", name); }

void Work::wait() {
  const base::CollectiveScope scope(operation_, sequence_number_, group_->name.c_str());
  if (wait_until(deadline_after(timeout_seconds_))) return;
  const std::vector<int> pending = pending_ranks();
  give_up();
  throw base::CommunicationError(
      concat(operation_, " (collective ", sequence_number_, ") on ", place_, " did not end within ", timeout_seconds_,
             " s", pending.empty() ? std::string() : concat("; it still waits for ", group_->ranks_text(pending)),
             ". A rank has died, hangs, or has skipped this collective: look at its log; "
             "parallel.debug_collectives compares the ranks' calls, parallel.collective_timeout_s sets the limit"));
}

}  // namespace rosa::parallel
