// The stages of a run (`stages` in the configuration): parts in order, each with a loss, schedules, data, student and
// trained weights of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "training/config.h"
#include "training/progress.h"

namespace rosa::training {

struct Stage {
  std::string name = {};           // empty: the run has no stages, and this is the whole of it
  RunConfig config = {};           // the run's, with what the stage overrides
  base::ConfigOrigin origin = {};  // where that was read
};

// Of a run, in order; never empty.
using Stages = std::vector<Stage>;

// Whether a stage may give the key "loss.temperature" a value of its own. What a run is or where it is kept is the same
// in all of them: model, tensors of the adapters, ranks, folder, checkpoints, evaluation.
bool is_key_of_stage(const std::string& key);

// The keys that stages may override, for documents and messages.
std::string keys_of_stages();

// Throws ConfigError, naming stage and key, where a stage has another value than the run for a key that is not its own.
void check_keys_of_stage(const Stage& stage, const RunConfig& run);

// Tells each stage's config which weights of the base any of them trains: all of them keep those (base_of_run).
void note_trained_base(Stages& stages);

// Steps of the whole run, where no stage ends early.
int64_t num_steps(const Stages& stages);
// The same of a run that is at `place`, whatever the stages before took.
int64_t num_steps(const Stages& stages, const StagePlace& place);

// Every key of the recipe with its value; of a run with stages, those that a stage may override by "stages.NAME.KEY",
// and the names of all under "stages" ("none" without).
std::map<std::string, std::string> recipe_of_stages(const Stages& stages);

// "stages.align.loss.beta" for a key that a stage may override; the key itself for another, and without a stage.
std::string key_in_stage(const std::string& stage, const std::string& key);

// "stage align (1 of 3)"; empty for a run without stages.
std::string stage_title(const Stages& stages, std::size_t index);

// Runs `job`; errors in configuration, data and files that it throws name the stage.
void in_stage(const Stages& stages, std::size_t index, const std::function<void()>& job);

// Whether two stages take the same samples in the same order: the second goes on in the data where the first ended.
bool go_on_in_data(const RunConfig& before, const RunConfig& after);

}  // namespace rosa::training
