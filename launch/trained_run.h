// A finished or stopped run, loaded back from its folder alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
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

struct TrainedRunRequest {
  std::filesystem::path folder = {};
  std::string checkpoint =
      {};  // a path, the name of one in the folder, or an adapter file; empty: the newest whole one
  std::vector<std::string> overrides = {};
  std::set<std::string> accepted = {};  // what may differ from the checkpoint
  bool needs_held_out = true;           // no use of a trained run needs its training data
};

// Reads config.yaml of the folder (where it is gone, the newest checkpoint's), builds the run and loads the weights.
// Compares model, tokenizer, adapter settings and held-out data, which `overrides` may name another of, with the
// checkpoint's. Throws ConfigError, DataError or CheckpointError.
TrainedRun load_trained_run(const TrainedRunRequest& request, parallel::Communicator& communicator);

}  // namespace rosa::launch
