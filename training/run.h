// A run from its configuration: trains with checkpoints and resume. What it is made of: run_objects.h.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/stateful.h"
#include "parallel/communicator.h"
#include "training/config.h"
#include "training/metrics.h"
#include "training/run_identity.h"
#include "training/run_objects.h"
#include "training/stages.h"

namespace rosa::training {

struct RunContext {
  parallel::Communicator& communicator;
  TrainingObserver& observer;            // told on rank 0 only
  std::function<bool()> stop_requested;  // asked on every rank between steps; one yes stops all
  std::string resolved_config;           // saved as config.yaml in run folder and checkpoints; compared across ranks
  std::set<std::string> accept_changed = {};           // what may differ from the checkpoint (run_identity.h)
  std::map<std::string, base::Stateful*> states = {};  // the caller's own, saved with the run's; values are rank 0's
  // Runs evaluation.suite and adds its figures; needed where the configuration names one. Collective.
  std::function<void(const RunConfig& config, const RunParts& parts, EvaluationMetrics& metrics)> run_suite = {};
  // What the model's token ids say, for evaluation.samples; empty: they are written as numbers.
  std::function<std::string(std::span<const int64_t> ids)> decode = {};
  // Where it is set: nothing that changed may be accepted, and this is what can be done about it.
  std::string advice_on_changes = {};
  RecipeReader read_recipe = {};  // for checkpoints of earlier versions, which record less than their configuration
};

enum class RunOutcome { finished, stopped };

// The caller keeps other jobs out of the run folder (base/folder_lock.h).
// Trains from the newest whole checkpoint (checkpoint.resume) to the last step, evaluating and saving as configured. On
// a stop request it saves and returns `stopped`. A periodic save that fails is a warning, until
// checkpoint.max_failed_saves in a row; the last one must succeed (CheckpointError on every rank). A pretraining run
// ends with the model exported to <run folder>/model. Collective: every rank calls it.
RunOutcome train_run(const Stages& stages, Objective objective, const RunContext& context);
// A run without stages.
RunOutcome train_run(const RunConfig& config, Objective objective, const RunContext& context);

}  // namespace rosa::training
