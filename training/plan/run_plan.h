// RunPlan: what a run will need and do, before anything of it is loaded: memory by kind, work, bytes on the wire and on
// disk, and what would fit. From its configuration and the sizes of the model; `rosa plan` shows it, a dry run compares
// it with what it measures.
#pragma once

#include <cstdint>

#include "models/model_config.h"
#include "training/config.h"
#include "training/plan/flops.h"
#include "training/plan/memory.h"
#include "training/plan/wire.h"
#include "training/run_rules.h"

namespace rosa::training {

struct PlanInput {
  const RunConfig& config;  // keeps the rules of run_rules.h; only looked at
  Objective objective = Objective::distill;
  const models::ModelConfig& model;
  const models::ModelConfig* own_teacher = nullptr;  // of teacher.folder; null: there is none
  int num_ranks = 1;
  int64_t num_hosts = 1;  // divides num_ranks
  bool on_gpu = false;
  int64_t automaton_threads = 1;
};

struct RunPlan {
  int64_t num_base = 0, num_adapter = 0, num_lora = 0, num_trained = 0;  // weights
  int64_t sequences_per_step = 0, tokens_per_step = 0;                   // of the last stage of a curriculum
  TokenFlops flops;                                                      // of a token
  MemoryPlan memory;
  WireBytes wire;       // of a step, all of it
  WireBytes base_wire;  // what of it is for weights of the base that ranks share out
  int64_t checkpoint_bytes = 0;
  int64_t num_checkpoints = 0;  // on disk at once, at most; those kept for their step or evaluation not counted

  double flops_per_step() const { return flops.total() * static_cast<double>(tokens_per_step); }
};

// Looks at the sizes of the files that the configuration names, and reads none.
RunPlan plan_run(const PlanInput& input);

// The most sequences of a micro-batch (train.micro_batch_sequences) with which the plan's peak stays within
// `memory_bytes` a rank, with or without checkpointing and a sharded optimiser; 0 where one is too many.
int64_t largest_micro_batch(const PlanInput& input, models::ActivationCheckpointing checkpointing,
                            bool sharded_optimizer, int64_t memory_bytes);

}  // namespace rosa::training
