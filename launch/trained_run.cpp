#include "launch/trained_run.h"

#include "base/error.h"
#include "launch/run_config_file.h"

namespace rosa::launch {

TrainedRun load_trained_run(const std::filesystem::path& folder, const std::string& checkpoint,
                            const std::vector<std::string>& overrides, parallel::Communicator& communicator) {
  const std::filesystem::path file = folder / "config.yaml";
  base::require<base::ConfigError>(std::filesystem::exists(file), folder.string(),
                                   " is no run folder: it holds no config.yaml");
  TrainedRun run;
  run.config = load_run_config(file, overrides).config;
  // The folder may have been moved or copied since it was written.
  run.config.run.folder = folder.string();
  run.config.checkpoint.resume = checkpoint.empty() ? "auto" : checkpoint;
  run.objects = training::build_run(run.config, training::Objective::distill, communicator);
  run.num_steps_done = training::load_trained_weights(run.config, run.objects);
  return run;
}

}  // namespace rosa::launch
