#include "launch/trained_run.h"

#include <algorithm>

#include "base/error.h"
#include "launch/checkpoint_path.h"
#include "launch/run_config_file.h"
#include "training/checkpoint_store.h"

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

}  // namespace

TrainedRun load_trained_run(const TrainedRunRequest& request, parallel::Communicator& communicator) {
  TrainedRun run;
  run.config = load_run_config(config_file(request.folder), request.overrides, ConfigUse::trained).config;
  // The folder may have been moved or copied since it was written.
  run.config.run.folder = request.folder.string();
  run.config.checkpoint.resume =
      request.checkpoint.empty() ? "auto" : checkpoint_path(request.folder, request.checkpoint).string();
  run.objects =
      training::build_run(run.config, training::Objective::distill, communicator,
                          {.training = false, .held_out = request.needs_held_out, .teacher = request.needs_held_out});
  const bool has_other_data = std::any_of(request.overrides.begin(), request.overrides.end(),
                                          [](const std::string& text) { return text.starts_with("data."); });
  run.num_steps_done = training::load_trained_weights(
      run.config, run.objects,
      {.accepted = request.accepted, .held_out_data = !has_other_data, .read_recipe = recorded_recipe});
  return run;
}

}  // namespace rosa::launch
