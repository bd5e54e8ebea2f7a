// The files of a run's folder that are no checkpoints, metrics or logs: config.yaml, and what killed writers left. For
// whoever holds the folder's lock. On rank 0 only.
#pragma once

#include <filesystem>
#include <string>

namespace rosa::training {

// Removes the temporary files that a killed run left of the files that a run writes. Files of others stay.
void remove_files_of_killed_writers(const std::filesystem::path& run_folder);

// Writes config.yaml where it is missing or holds something else. Throws FileError where it is missing and can't be
// written; where it can't be changed, that is a warning: a run that goes on may do so on a full disk.
void write_resolved_config(const std::filesystem::path& run_folder, const std::string& text);

// Writes config.yaml where others have removed it under the run. A failure is a warning.
void make_resolved_config_anew(const std::filesystem::path& run_folder, const std::string& text);

}  // namespace rosa::training
