// ParallelConfig: how ranks sum gradients and share the optimiser's state. The configuration section `parallel`.
#pragma once

#include <cstdint>
#include <string>

#include "base/config_problems.h"
#include "base/fields.h"

namespace rosa::parallel {

struct ParallelConfig {
  std::string reduction = "auto";        // auto, deterministic, fast
  double bucket_mib = 4.0;               // gradients that travel together
  std::string wire_dtype = "float32";    // float32, bfloat16 (fast only)
  bool sharded_optimizer = false;        // each rank keeps the optimiser's state of a part of the weights
  bool debug_collectives = false;        // compare every collective across ranks before it runs
  double collective_timeout_s = 1800.0;  // that a collective may wait for other ranks
  std::string shard_base = "none";       // none, node, all: who shares out the frozen weights of the layers
};

void describe(base::FieldVisitor& visitor, ParallelConfig& config);
// `never_on_gpu`: what auto means is known then.
void check(base::ConfigProblems& problems, const ParallelConfig& config, bool never_on_gpu);

// Elements of float32 that travel together, at least 1.
int64_t bucket_elements(const ParallelConfig& config);

enum class ReductionMode { deterministic, fast };

// The mode that `config` means on a device: auto is deterministic on CPUs and fast on GPUs. Throws ConfigError for
// bfloat16 on the wire in deterministic mode, whose bits would then depend on the number of ranks.
ReductionMode reduction_mode(const ParallelConfig& config, bool on_gpu);

}  // namespace rosa::parallel
