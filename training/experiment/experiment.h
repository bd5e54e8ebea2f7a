// An experiment: every arm with every seed, one run after the other over all ranks, and the studies beside them.
// Finished runs and studies are not done again; a run that was interrupted goes on. Formats: docs/experiments.md.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/experiment/experiment_config.h"
#include "training/run.h"

namespace rosa::training {

struct ExperimentContext {
  parallel::Communicator& communicator;
  HostExecutor& executor;
  std::function<bool()> stop_requested;         // asked on every rank between steps; one yes stops all
  std::string resolved_config;                  // YAML; kept in the folder
  std::map<std::string, std::string> settings;  // the same by key; compared when the folder is used again
  std::string command, machine, commit;         // for the report
  // Told on rank 0 about runs and studies that are done: one line each.
  std::function<void(const std::string&)> on_notice;
};

// Throws ConfigError where the folder holds another experiment (other estimators and seeds may be added), or what
// check() finds; NumericError, CheckpointError and FileError as runs do. Collective: every rank calls it.
RunOutcome run_experiment(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms,
                          const ExperimentContext& context);

// The folder of a run below the experiment's.
std::string run_folder_name(const ExperimentArm& arm, int64_t seed);

}  // namespace rosa::training
