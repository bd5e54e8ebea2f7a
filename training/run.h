// A run from its configuration: builds what it is made of, trains with checkpoints and resume, loads it back for
// evaluation and generation. The entry points of launch/.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/stateful.h"
#include "models/adapter.h"
#include "models/qwen3.h"
#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/evaluation.h"
#include "training/metrics.h"

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

struct RunContext {
  parallel::Communicator& communicator;
  TrainingObserver& observer;            // told on rank 0 only
  std::function<bool()> stop_requested;  // asked on every rank between steps; one yes stops all
  std::string resolved_config;           // saved as config.yaml in run folder and checkpoints; compared across ranks
  std::set<std::string> accept_changed = {};           // what may differ from the checkpoint (run_identity.h)
  std::map<std::string, base::Stateful*> states = {};  // the caller's own, saved with the run's; values are rank 0's
};

enum class RunOutcome { finished, stopped };

// Trains from the newest whole checkpoint (checkpoint.resume) to the last step, evaluating and saving as configured. On
// a stop request it saves and returns `stopped`. A periodic save that fails is a warning, until
// checkpoint.max_failed_saves in a row; the last one must succeed (CheckpointError on every rank). A pretraining run
// ends with the model exported to <run folder>/model. Collective: every rank calls it.
RunOutcome train_run(const RunConfig& config, Objective objective, const RunContext& context);

// Loads the weights of the newest complete checkpoint of config.run.folder (or of the checkpoint or adapter file that
// checkpoint.resume names) into `objects`; returns the number of steps behind them. Throws CheckpointError where there
// is none.
int64_t load_trained_weights(const RunConfig& config, RunObjects& objects);

}  // namespace rosa::training
