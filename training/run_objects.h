// RunObjects: what a run works on, built from its configuration; and the weights of a trained run, loaded back for
// evaluation and generation.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/causal_model.h"
#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/evaluation.h"
#include "training/run_identity.h"
#include "training/run_rules.h"

namespace rosa::training {

// Owns what a run works on.
struct RunObjects {
  at::Device device = at::kCPU;
  std::unique_ptr<parallel::Communicator> device_communicator;  // NCCL; null where the run's own serves the device
  std::unique_ptr<models::CausalModel> model;
  std::unique_ptr<models::CausalModel> own_teacher;  // null: the base is the teacher, too
  std::unique_ptr<models::AdapterSet> adapters;      // null for pretraining
  std::unique_ptr<DataSource> training_data, held_out_data;
  std::unique_ptr<HostExecutor> executor;
  std::vector<std::shared_ptr<SharedLayers>> shared_layers;  // RunParts

  // Of the files that frozen weights lie in, as CausalModel has it: of base model and teacher.
  void require_same_files() const;
  std::string trouble_with_files() const;

  RunParts parts(parallel::Communicator& communicator) const;
  // ... with other data.
  RunParts parts(parallel::Communicator& communicator, const DataSource& training, const DataSource& held_out) const;
};

// Which data and weights a use of a run reads. What it does not, need not be there.
struct DataNeeds {
  bool training = true;
  bool held_out = true;
  bool teacher = true;   // one of its own, where the run has one
  bool adapters = true;  // of a distilled run; without them none of the base is trained either
};

struct RunData {
  std::unique_ptr<DataSource> training, held_out;
};

// The data of a distilled run, or of a stage of it, checked against the model. Throws ConfigError and DataError.
RunData open_data(const RunConfig& config, const models::CausalModel& model, const DataNeeds& needs);

// Training evaluates only where evaluation.every says so.
DataNeeds needs_of_training(const RunConfig& config);

// Checks what no single key can show (data against vocabulary, adapter against model ...) and builds everything; sets
// the number of compute threads of the process. Throws ConfigError and DataError.
RunObjects build_run(const RunConfig& config, Objective objective, parallel::Communicator& communicator,
                     const DataNeeds& needs);
// ... for training.
RunObjects build_run(const RunConfig& config, Objective objective, parallel::Communicator& communicator);

// Loads the adapter weights of train.init_from: a file, a checkpoint, a run folder for its newest whole checkpoint, or
// a whole student, base included (rosa_soft's model.safetensors, an exported folder), whose unused tensors are logged.
// Throws ConfigError where there is none and where a checkpoint's symbols have other numbers of bits, DataError where
// names or shapes of the tensors differ.
void load_start_weights(const RunConfig& config, models::AdapterSet& adapters);

// How the weights of a trained run are compared with what they are used with.
struct WeightsComparison {
  std::set<std::string> accepted = {};  // what may differ (run_identity.h)
  bool held_out_data = true;            // false: it is meant to be another
  std::string stage = {};               // of the run, that `config` is of; empty: it has none
  RecipeReader read_recipe = {};
};

// Loads the weights of the newest complete checkpoint of config.run.folder (or of the checkpoint or adapter file that
// checkpoint.resume names) into `objects`; returns the number of steps behind them. Model, tokenizer, adapter settings
// and held-out data (where it was read) are compared with the checkpoint's (a file: with the run's newest
// checkpoint's). Throws CheckpointError where there is no checkpoint, and where it belongs to something else.
int64_t load_trained_weights(const RunConfig& config, RunObjects& objects, const WeightsComparison& comparison = {});

}  // namespace rosa::training
