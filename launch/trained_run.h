// A finished or stopped run, loaded back from its folder alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "training/run.h"

namespace rosa::launch {

struct TrainedRun {
  training::RunConfig config;
  training::RunObjects objects;
  int64_t num_steps_done = 0;
};

// Reads config.yaml of `folder`, builds the run and loads its newest complete checkpoint, or `checkpoint` where that is
// not empty. Throws ConfigError, DataError or CheckpointError.
TrainedRun load_trained_run(const std::filesystem::path& folder, const std::string& checkpoint,
                            const std::vector<std::string>& overrides, parallel::Communicator& communicator);

}  // namespace rosa::launch
