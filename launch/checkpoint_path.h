// Checkpoints as users name them: a path, or the name (or number of steps) of one in a run's folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rosa::launch {

// `name` as a path where there is such a one, else as a checkpoint of the run: "step_00002000", or "2000", or one that
// was set aside, "set_aside/after_step_00001000/step_00002000". Throws
// CheckpointError where there is neither, with the names that the run has.
std::filesystem::path checkpoint_path(const std::filesystem::path& run_folder, const std::string& name);

// Whether the path is one checkpoint, not a folder of them.
bool is_checkpoint(const std::filesystem::path& path);

// The checkpoints that arguments stand for: each a checkpoint, or a run folder (or its checkpoints folder) for all of
// its own by step; names behind a run folder pick some of these. Throws CheckpointError for what does not exist.
std::vector<std::filesystem::path> checkpoint_paths(const std::vector<std::string>& arguments);

}  // namespace rosa::launch
