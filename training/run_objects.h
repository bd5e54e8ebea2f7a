// RunObjects: what a run works on, built from its configuration; and the weights of a trained run, loaded back for
// evaluation and generation.
#pragma once

#include <cstdint>
#include <memory>

#include "models/adapter.h"
#include "models/qwen3.h"
#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/evaluation.h"

namespace rosa::training {

// distill: frozen base, adapters are trained against the teacher. pretrain: the base itself, global attention.
enum class Objective { distill, pretrain };

// Owns what a run works on.
struct RunObjects {
  at::Device device = at::kCPU;
  std::unique_ptr<parallel::Communicator> device_communicator;  // NCCL; null where the run's own serves the device
  std::unique_ptr<models::Qwen3> model;
  std::unique_ptr<models::AdapterSet> adapters;  // null for pretraining
  std::unique_ptr<DataSource> training_data, held_out_data;
  std::unique_ptr<HostExecutor> executor;

  RunParts parts(parallel::Communicator& communicator) const;
};

// Checks what no single key can show (data against vocabulary, adapter against model ...) and builds everything; sets
// the number of compute threads of the process. Throws ConfigError and DataError.
RunObjects build_run(const RunConfig& config, Objective objective, parallel::Communicator& communicator);

// Loads the weights of the newest complete checkpoint of config.run.folder (or of the checkpoint or adapter file that
// checkpoint.resume names) into `objects`; returns the number of steps behind them. Throws CheckpointError where there
// is none.
int64_t load_trained_weights(const RunConfig& config, RunObjects& objects);

}  // namespace rosa::training
