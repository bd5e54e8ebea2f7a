// What the gradients and the sharded optimiser's weights of one step put on the wire, counted from sizes alone.
#pragma once

#include <cstdint>

#include "models/model_config.h"
#include "parallel/flat_layout.h"
#include "parallel/reduction_config.h"
#include "training/config.h"

namespace rosa::training {

// Bytes sent in a step. The layout's padding travels too; sums of losses and other small things are left out.
struct WireBytes {
  double by_rank = 0.0;  // by the rank that sends most, wherever to
  double by_host = 0.0;  // by a host to other hosts; 0 where there is one
};

struct WireInput {
  const parallel::FlatLayout& layout;
  const parallel::ParallelConfig& config;
  int64_t micro_batches = 1;  // of a step, over all ranks
  int64_t num_hosts = 1;      // with equally many ranks each, neighbours on one host
  bool on_gpu = false;
};

// Deterministic: each rank sends its subtrees' parts straight to the rank that owns them, then the sums go around a
// ring. Fast: an all-reduce, or a reduce-scatter where the optimiser is sharded, around a ring. What a library does
// otherwise (trees, shared memory) is not known here; for large buckets a ring is the usual choice.
WireBytes wire_bytes(const WireInput& input);

// Elements of the projections of all layers: what ranks share out (parallel.shard_base).
int64_t num_projection_weights(const models::ModelConfig& model);

// The ranks of a group that shares out the layers; 1: nothing is shared out.
int num_sharing_ranks(const parallel::ParallelConfig& config, int64_t num_ranks, int64_t num_hosts);

// What is sent in a step for the layers that ranks share out. Every layer is gathered for each forward, and again for
// the backward of the student, but for the two that each of the two finds there. `own_teacher` as in PlanInput.
WireBytes base_wire_bytes(const RunConfig& config, const models::ModelConfig& model,
                          const models::ModelConfig* own_teacher, int64_t num_ranks, int64_t num_hosts);

}  // namespace rosa::training
