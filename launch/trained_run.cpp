#include "launch/trained_run.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "launch/checkpoint_path.h"
#include "launch/run_config_file.h"
#include "training/checkpoint_store.h"
#include "training/progress.h"

namespace rosa::launch {
namespace {

constexpr const char* kConfigFile = "config.yaml";

std::filesystem::path config_file(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / kConfigFile)) return folder / kConfigFile;
  const auto newest = training::CheckpointStore(folder / "checkpoints").newest_complete();
  base::require<base::ConfigError>(newest.has_value(), folder.string(), " is no run folder: it holds neither ",
                                   kConfigFile, " nor checkpoints");
  return newest->folder() / kConfigFile;
}

// The stage that the run was in when it saved what is asked for; of adapters in a file of their own, the last.
std::size_t stage_of(const TrainedRunRequest& request, const training::Stages& stages) {
  if (stages.size() == 1) return 0;
  std::optional<training::Checkpoint> checkpoint;
  if (request.checkpoint.empty()) {
    checkpoint = training::CheckpointStore(request.folder / "checkpoints").newest_complete();
  } else if (const auto path = checkpoint_path(request.folder, request.checkpoint);
             std::filesystem::is_directory(path)) {
    checkpoint.emplace(path);
  }
  if (!checkpoint) return stages.size() - 1;
  const auto index = static_cast<std::size_t>(training::place_of(checkpoint->state("progress")).index);
  base::require<base::CheckpointError>(index < stages.size(), "'", checkpoint->folder().string(), "' is of stage ",
                                       index + 1, ", but the run has only ", stages.size());
  return index;
}

}  // namespace

TrainedRun load_trained_run(const TrainedRunRequest& request, parallel::Communicator& communicator) {
  TrainedRun run;
  const training::Stages stages =
      load_run_config(config_file(request.folder), request.overrides, ConfigUse::trained).stages;
  const training::Stage& stage = stages[stage_of(request, stages)];
  run.config = stage.config;
  // The folder may have been moved or copied since it was written.
  run.config.run.folder = request.folder.string();
  run.config.checkpoint.resume =
      request.checkpoint.empty() ? "auto" : checkpoint_path(request.folder, request.checkpoint).string();
  run.objects =
      training::build_run(run.config, training::Objective::distill, communicator,
                          {.training = false, .held_out = request.needs_held_out, .teacher = request.needs_held_out});
  const bool has_other_data = std::any_of(request.overrides.begin(), request.overrides.end(),
                                          [](const std::string& text) { return text.starts_with("data."); });
  run.num_steps_done = training::load_trained_weights(run.config, run.objects,
                                                      {.accepted = request.accepted,
                                                       .held_out_data = !has_other_data,
                                                       .stage = stage.name,
                                                       .read_recipe = recorded_recipe});
  return run;
}

}  // namespace rosa::launch
