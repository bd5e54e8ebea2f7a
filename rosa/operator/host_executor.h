// HostExecutor: runs the automata of a batch on the rank's own threads while the device (or the CPU's compute thread)
// does something else. submit() returns at once, wait() joins. What crosses between device and host is packed: symbols
// out, value symbols and the matched bit or the length of the match back, positions only where they are asked for.
#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "rosa/automaton/match_pool.h"
#include "rosa/operator/device_transfer.h"

namespace rosa {

// What the automata gave; tensors on the device of the submitted symbols.
struct HardResult {
  at::Tensor value_symbols;  // [B,H,T] packed value bits of the retrieved rows (uint8, or int64 above 8 bits); 0: none
  at::Tensor matched;        // bool [B,H,T]
  at::Tensor positions;      // int32 [B,H,T]: i*, -1 for none; only where the request asked for them
  at::Tensor lengths;        // uint8 [B,H,T]: symbols that match, 255: so many or more, 0: none; only where asked for
  // Only where asked for, then in place of value_symbols: how many places the match has [B,H,T], and how many of the
  // values after them have each bit [B,H,T,M] (automaton/place_sums.h). int16 up to 32768 positions, else int32: half
  // the bytes of float means, and exact. See hard_bits().
  at::Tensor place_counts, place_sums;

  bool defined() const { return matched.defined(); }
};

// One call's work: packed symbols of B sequences (see symbols.h), all on one device.
struct MatchRequest {
  at::Tensor query_symbols;  // [B,H,T] uint8 or int64
  at::Tensor key_symbols;    // [B,G,T], the dtype of query_symbols
  at::Tensor value_symbols;  // [B,G,T] uint8 or int64
  at::Tensor mask;           // undefined, or bool [1|B,1|H,T,T]; makes the matching quadratic in T
  // Undefined, or int64 [B,T] on the CPU or the device: number of the document, non-decreasing along T.
  at::Tensor documents;
  bool want_positions = false;
  bool want_lengths = false;
  bool want_place_sums = false;  // all places of the match instead of the latest one's value
  // Bits of a symbol, 0: as many as the dtype has. Symbols of one bit cross eight a byte.
  int64_t symbol_bits = 0, value_bits = 0;
  int64_t layer = -1;  // whose statistics and trace this belongs to; -1: no statistics
};

// The value bits of a result, M of them, as [B,H,T,M] of `dtype` (float32 or float64), a transposed view of a
// contiguous [B,T,H,M]: those retrieved, 0 or 1, or, where it has place_sums, their means; 0 where nothing matches.
at::Tensor hard_bits(const HardResult& result, int64_t num_bits, at::ScalarType dtype);

class HostExecutor {
 public:
  // One submitted request; hand it to wait() once, or drop it.
  class Job;
  using Ticket = std::shared_ptr<Job>;

  // `num_threads` workers, each with its own matcher. `make_transfer` makes what brings symbols to the host and back.
  // Where it is empty, symbols on the CPU stay where they are, and those on a GPU go by make_device_transfer().
  explicit HostExecutor(int num_threads, MakeDeviceTransfer make_transfer = {});
  ~HostExecutor();

  int num_threads() const { return pool_.num_threads(); }

  // Checks the shapes (ArgumentError), starts the copies to the host and the matching of all sequences and returns at
  // once. Any number of requests may be in flight.
  Ticket submit(MatchRequest request);
  // Joins; the calling thread helps with what no worker has begun. Rethrows the first exception of a worker.
  HardResult wait(const Ticket& ticket);

  // How long the device (the compute thread, on the CPU) has had nothing to do but wait for the automata since
  // construction: the matching that was not hidden behind other work.
  double waited_ms();

  // What the layers' symbols and matches looked like, over all requests waited for since the last call.
  std::map<int64_t, automaton::LayerStatistics> take_statistics() { return pool_.take_statistics(); }

  // Staging buffers made so far: as many as requests were in flight at once, used again ever after.
  int num_staging_buffers() const;
  int64_t staging_bytes() const;

  // Runs body(0) ... body(count - 1) on the workers and returns when all have run; rethrows what they threw.
  void parallel_for(int64_t count, const std::function<void(int64_t)>& body);

  // Runs `body` on the calling thread, between submit() and wait(): the work that the matching goes on beside.
  void run_beside(const std::function<void()>& body) const;

  // For tests: what is called when a thread begins its share of a request, and when run_beside begins and ends. Set it
  // while nothing is in flight.
  struct Hooks {
    std::function<void()> work_begins, beside_begins, beside_ends;
  };
  void set_hooks(Hooks hooks);

 private:
  class Transfers;
  struct Memory;

  MakeDeviceTransfer make_transfer_;
  std::shared_ptr<Transfers> transfers_;  // shared with the jobs in flight
  Hooks hooks_;
  std::atomic<int64_t> waited_ns_ = 0;
  automaton::MatchPool pool_;  // last: its threads end before what they use goes away
};

}  // namespace rosa
