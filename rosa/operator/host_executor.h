// HostExecutor: runs the automata of a batch on the rank's own threads while the device (or the CPU's compute thread)
// does something else. submit() returns at once, wait() joins. What crosses is packed symbols and the matched bit.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "base/thread_pool.h"

namespace rosa {

// What the automata gave; tensors on the device of the submitted symbols.
struct HardResult {
  at::Tensor value_symbols;  // [B,H,T] packed value bits of the retrieved rows (uint8, or int64 above 8 bits); 0: none
  at::Tensor matched;        // bool [B,H,T]
  at::Tensor positions;      // int32 [B,H,T]: i*, -1 for none; only where the request asked for them

  bool defined() const { return matched.defined(); }
};

// One call's work: packed symbols of B sequences (see symbols.h), all on one device.
struct MatchRequest {
  at::Tensor query_symbols;  // [B,H,T] uint8 or int64, contiguous
  at::Tensor key_symbols;    // [B,G,T], the dtype of query_symbols
  at::Tensor value_symbols;  // [B,G,T] uint8 or int64
  at::Tensor mask;           // undefined, or bool [1|B,1|H,T,T]; makes the matching quadratic in T
  // Undefined, or int64 [B,T] on the CPU or the device: number of the document, non-decreasing along T.
  at::Tensor documents;
  bool want_positions = false;
};

class HostExecutor {
 public:
  // One submitted request; hand it to wait() once.
  class Job;
  using Ticket = std::shared_ptr<Job>;

  // `num_threads` workers, each with its own matcher.
  explicit HostExecutor(int num_threads);
  ~HostExecutor();

  int num_threads() const { return pool_.num_threads(); }

  // Checks the shapes (ArgumentError), starts the matching of all sequences and returns at once.
  Ticket submit(MatchRequest request);
  // Joins. Rethrows the first exception of a worker.
  HardResult wait(const Ticket& ticket);
  // Time that wait() has blocked its callers since construction: what matching was not hidden behind other work.
  double waited_ms() const { return static_cast<double>(waited_ns_.load()) / 1e6; }

  // Runs body(0) ... body(count - 1) on the workers and returns when all have run; rethrows what they threw.
  void parallel_for(int64_t count, const std::function<void(int64_t)>& body);

  // Runs `body` on the calling thread, between submit() and wait(): what the matching is to be beside of.
  void run_beside(const std::function<void()>& body) const;

  // For tests: what is called when a worker begins its part of a job, and when run_beside begins and ends. Set it while
  // nothing is in flight.
  struct Hooks {
    std::function<void()> work_begins, beside_begins, beside_ends;
  };
  void set_hooks(Hooks hooks) { hooks_ = std::move(hooks); }

 private:
  struct Worker;

  void run_pieces(Job& job);

  std::vector<std::unique_ptr<Worker>> workers_;
  Hooks hooks_;
  std::atomic<int64_t> waited_ns_ = 0;
  base::ThreadPool pool_;  // last: its threads end before what they use goes away
};

}  // namespace rosa
