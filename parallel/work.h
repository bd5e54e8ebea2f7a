// Work: a collective that was started and that somebody will wait for. Backends derive from it and say how to poll;
// the time limit and the text of its error are here.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace rosa::parallel {

// The ranks of a communicator, as messages name them.
struct RankGroup {
  std::string name;              // empty: all ranks of the job
  std::vector<int> world_ranks;  // by rank in the group: its rank in the job; empty: the same

  int world_rank(int rank) const { return world_ranks.empty() ? rank : world_ranks[static_cast<size_t>(rank)]; }
  // "ranks 0, 1 and 3", of the job.
  std::string ranks_text(const std::vector<int>& ranks) const;
  // " of group node 0"; nothing for all ranks of the job.
  std::string of_group() const;
};

// A collective that was started. Its tensors must not be read or written before wait() has returned.
// One thread at a time may use it, which need not be the one that started it.
// A Work destroyed without wait() leaks its buffers on purpose: the network may still write to them.
class Work {
 public:
  using Clock = std::chrono::steady_clock;

  Work() = default;
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;
  virtual ~Work() = default;

  // Blocks until the collective is complete on this rank; the backend says what that means for a device's streams.
  // Throws CommunicationError on errors, and after the communicator's time limit, naming the collective.
  void wait();
  // True when wait() would not block. Throws CommunicationError.
  bool is_complete() { return poll(); }
  // The ranks that this one is known to wait for, in increasing order. Empty where the backend can't tell.
  virtual std::vector<int> pending_ranks() { return {}; }

 protected:
  // True when the collective is complete; lets the backend make progress. Throws CommunicationError.
  virtual bool poll() = 0;
  // As poll(), but blocks until the deadline at most.
  virtual bool wait_until(Clock::time_point deadline) = 0;
  // Called when the time is over, before wait() throws.
  virtual void give_up() {}

 private:
  friend class Communicator;  // which says what this is the work of

  std::string place_ = "this rank";
  std::shared_ptr<const RankGroup> group_ = std::make_shared<RankGroup>();
  const char* operation_ = "collective";
  int64_t sequence_number_ = 0;
  double timeout_seconds_ = 0;
};

// The Work of a collective that was complete when it was started.
class CompleteWork final : public Work {
 protected:
  bool poll() override { return true; }
  bool wait_until(Clock::time_point) override { return true; }
};

// The moment `seconds` from now.
Work::Clock::time_point deadline_after(double seconds);

// Calls `poll` until it returns true (then true) or the deadline has passed (then false). Between calls the processor
// is given to others; from the 200th call on the thread sleeps, a little longer each time, up to `longest_pause`.
bool poll_until(Work::Clock::time_point deadline, std::chrono::microseconds longest_pause,
                const std::function<bool()>& poll);

// "rank 2", "ranks 0, 1 and 3".
std::string ranks_text(const std::vector<int>& ranks);

}  // namespace rosa::parallel
