#include "training/plan/wire.h"

#include <algorithm>

#include "models/causal_model.h"
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

int64_t num_projection_weights(const models::ModelConfig& model) {
  int64_t count = 0;
  for (const auto& [name, shape] : models::parameter_shapes(model)) {
    if (name.ends_with("_proj.weight")) count += shape[0] * shape[1];
  }
  return count;
}

int num_sharing_ranks(const parallel::ParallelConfig& config, int64_t num_ranks, int64_t num_hosts) {
  if (config.shard_base == "none") return 1;
  return static_cast<int>(config.shard_base == "node" ? num_ranks / num_hosts : num_ranks);
}

WireBytes base_wire_bytes(const RunConfig& config, const models::ModelConfig& model,
                          const models::ModelConfig* own_teacher, int64_t num_ranks, int64_t num_hosts) {
  WireBytes bytes;
  const int64_t sharing = num_sharing_ranks(config.parallel, num_ranks, num_hosts);
  if (sharing == 1) return bytes;
  const LossConfig& loss = config.loss;
  const auto bytes_of = [](const models::ModelConfig& of, const std::string& dtype, int64_t forwards,
                           bool has_backward) {
    const int64_t num_layers = of.num_hidden_layers;
    if (num_layers <= 2) return 0.0;  // all are there, always
    const int64_t num_gathers = forwards * num_layers + (has_backward ? num_layers - 4 : 0);
    const int64_t all = num_projection_weights(of) * (dtype == "bfloat16" ? 2 : 4);
    return static_cast<double>(all / num_layers) * static_cast<double>(num_gathers);
  };
  // The backwards of two forwards are one, from the last layers on.
  int64_t forwards = (loss.has_own_forward() ? 1 : 0) + (loss.has_fed_forward() ? 1 : 0);
  if (loss.has_teacher() && own_teacher == nullptr) ++forwards;
  double gathered = bytes_of(model, config.model.compute_dtype, forwards, /*has_backward=*/true);
  if (loss.has_teacher() && own_teacher != nullptr)
    gathered += bytes_of(*own_teacher, teacher_dtype(config), /*forwards=*/1, /*has_backward=*/false);
  gathered *= static_cast<double>(config.train.micro_batches / num_ranks);
  const auto share = [&](int64_t others) {
    return gathered * static_cast<double>(others) / static_cast<double>(sharing);
  };
  bytes.by_rank = share(sharing - 1);
  const int64_t ranks_of_host = num_ranks / num_hosts;
  if (sharing > ranks_of_host) bytes.by_host = share(sharing - ranks_of_host) * static_cast<double>(ranks_of_host);
  return bytes;
}

}  // namespace rosa::training
