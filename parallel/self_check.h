// What a launch can be asked before a run trusts it: does every collective give the right result here, how long does it
// take, and how far are the clocks of the ranks apart. Owns no communicator and decides nothing.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace rosa::parallel {

struct CollectiveTiming {
  std::string name;       // "all_reduce sum"
  int64_t num_bytes = 0;  // of the whole tensor, over all ranks where each has a part; 0: no tensor
  double ms = 0.0;        // the shortest of the repeats on the slowest rank, until the result can be read
};

struct CollectiveCheckOptions {
  std::vector<int64_t> num_elements = {1, 1 << 14, 1 << 22};  // of float32
  int num_repeats = 3;
};

// Calls every collective, blocking and asynchronous, on tensors of `device`, and compares each result with the one that
// is known beforehand. Throws CommunicationError on the ranks that got a wrong one.
// Collective: every rank calls it.
std::vector<CollectiveTiming> check_collectives(Communicator& communicator, const at::Device& device,
                                                const CollectiveCheckOptions& options = {});

struct ClockOffset {
  double seconds = 0.0;              // what the rank's clock shows more than rank 0's
  double uncertainty_seconds = 0.0;  // half the shortest way there and back
};

// The clocks of all ranks against rank 0's, in rank order: rank 0 asks each in turn and halves the time that question
// and answer took (Cristian's algorithm; the quickest of `num_rounds` counts). `clock` returns seconds; by default the
// wall clock. The communicator must serve the CPU. Collective: every rank calls it.
std::vector<ClockOffset> measure_clock_offsets(Communicator& communicator, int num_rounds = 20,
                                               const std::function<double()>& clock = {});

}  // namespace rosa::parallel
