#include "training/plan/wire.h"

#include <algorithm>

#include "parallel/micro_batch_tree.h"

namespace rosa::training {

WireBytes wire_bytes(const WireInput& input) {
  const int64_t num_ranks = input.layout.world_size(), ranks_of_host = num_ranks / input.num_hosts;
  WireBytes bytes;
  if (num_ranks == 1) return bytes;
  const auto elements = static_cast<double>(input.layout.length());
  const double whole = elements * sizeof(float);
  const double others = static_cast<double>(num_ranks - 1) / static_cast<double>(num_ranks);
  const double other_hosts = static_cast<double>(num_ranks - ranks_of_host) / static_cast<double>(num_ranks);
  // Around a ring every rank sends all but its own part; of a host, one rank sends to the next host.
  const auto ring = [&](double size) {
    bytes.by_rank += size * others;
    if (input.num_hosts > 1) bytes.by_host += size * others;
  };
  const bool is_fast = parallel::reduction_mode(input.config, input.on_gpu) == parallel::ReductionMode::fast;
  if (is_fast) {
    const double on_wire = input.config.wire_dtype == "bfloat16" ? elements * 2 : whole;
    ring(on_wire);
    // The other half of an all-reduce.
    if (!input.config.sharded_optimizer) ring(on_wire);
  } else {
    const int64_t run = input.micro_batches / num_ranks;
    std::size_t most = 0;
    double of_all_ranks = 0.0;
    for (int64_t rank = 0; rank < num_ranks; ++rank) {
      const std::size_t subtrees = parallel::maximal_subtrees(rank * run, (rank + 1) * run).size();
      most = std::max(most, subtrees);
      of_all_ranks += static_cast<double>(subtrees);
    }
    bytes.by_rank += static_cast<double>(most) * whole * others;
    bytes.by_host += of_all_ranks / static_cast<double>(input.num_hosts) * whole * other_hosts;
    if (!input.config.sharded_optimizer) ring(whole);
  }
  if (input.config.sharded_optimizer) ring(whole);  // the updated weights
  return bytes;
}

}  // namespace rosa::training
