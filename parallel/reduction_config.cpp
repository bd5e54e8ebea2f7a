#include "parallel/reduction_config.h"

#include <algorithm>

namespace rosa::parallel {

using base::Role;

void describe(base::FieldVisitor& visitor, ParallelConfig& config) {
  visitor.field("reduction", config.reduction, Role::recipe,
                "how gradients are summed. deterministic: in a fixed tree over micro-batches, the same bits for any "
                "number of ranks; fast: by MPI or NCCL while backward goes on, equal up to rounding; auto: "
                "deterministic on CPUs, fast on GPUs",
                {"auto", "deterministic", "fast"});
  visitor.field("bucket_mib", config.bucket_mib, Role::place,
                "MiB of gradients that travel together; a larger parameter travels alone", {0.001, 4096.0});
  visitor.field("wire_dtype", config.wire_dtype, Role::recipe,
                "dtype of gradients on their way between ranks; bfloat16: fast only", {"float32", "bfloat16"});
  visitor.field("sharded_optimizer", config.sharded_optimizer, Role::place,
                "each rank keeps the optimiser state of its part of the weights only; changes no bit");
  visitor.field("debug_collectives", config.debug_collectives, Role::place,
                "compare every collective (number, operation, dtype, count) across ranks before it runs; slow");
  visitor.field("collective_timeout_s", config.collective_timeout_s, Role::place,
                "seconds after which a collective that other ranks do not join is an error", {1.0, 1e6});
  visitor.field("shard_base", config.shard_base, Role::place,
                "which ranks share out the frozen projections of base model and teacher: each keeps a part, and a "
                "layer is gathered just ahead of its use. none: no rank, each has them all; node: the ranks of a "
                "host; all: all ranks. Changes no bit",
                {"none", "node", "all"});
}

void check(base::ConfigProblems& problems, const ParallelConfig& config, bool never_on_gpu) {
  const bool is_deterministic = config.reduction == "deterministic" || (config.reduction == "auto" && never_on_gpu);
  problems.require(!is_deterministic || config.wire_dtype == "float32", {"wire_dtype", "reduction"}, config.wire_dtype,
                   " needs ", problems.full_key("reduction"), ": fast; deterministic sums travel as float32");
}

int64_t bucket_elements(const ParallelConfig& config) {
  return std::max<int64_t>(1, static_cast<int64_t>(config.bucket_mib * 1024 * 1024 / sizeof(float)));
}

ReductionMode reduction_mode(const ParallelConfig& config, bool on_gpu) {
  base::ConfigProblems problems;
  problems.section("parallel", config, !on_gpu);
  problems.throw_if_any();
  const bool is_fast = config.reduction == "fast" || (config.reduction == "auto" && on_gpu);
  return is_fast ? ReductionMode::fast : ReductionMode::deterministic;
}

}  // namespace rosa::parallel
