// CheckpointStore: checkpoints as folders `step_00000100` of one parent folder, each whole or not there. A checkpoint
// is written under another name, made durable file by file, and renamed; its manifest.json holds the checksum of every
// file. One process writes at a time. Knows nothing of what it keeps but base::Stateful.
//
// A checkpoint holds adapter.safetensors (the tensors of the state named "adapter", by their own names: rosa_soft's),
// state.safetensors (the tensors of all other states, as "state/tensor"), state.json (the values of all states), the
// text files that were given to save(), and manifest.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/stateful.h"

namespace rosa::training {

// The name of the state whose tensors get their own file.
inline constexpr const char* kAdapterState = "adapter";

// What stands in the manifest.
struct CheckpointInfo {
  std::string run_id;
  int64_t step = 0;
};

class CheckpointStore {
 public:
  // `folder` need not exist; save() makes it. `run_id` tells whose checkpoints these are and may be empty.
  explicit CheckpointStore(std::filesystem::path folder, std::string run_id = {});

  // Writes the checkpoint of `step` and returns its folder; one of the same step is replaced. Texts are files by name.
  // On failure (FileError) earlier checkpoints are untouched and nothing half-written stays.
  std::filesystem::path save(int64_t step, const std::map<std::string, const base::Stateful*>& states,
                             const std::map<std::string, std::string>& texts = {}) const;

  // The folder of the newest checkpoint whose checksums are right; nothing where there are no checkpoints. Skips
  // damaged ones with a warning. Throws CheckpointError, with a reason for each, if there are only damaged ones.
  std::optional<std::filesystem::path> newest_complete() const;

  // Verifies the checkpoint at `path` and hands each of `states` its part; others that it holds are left alone. Throws
  // CheckpointError, naming the entry, where the checkpoint is damaged or does not fit.
  void load(const std::filesystem::path& path, const std::map<std::string, base::Stateful*>& states) const;

  // Removes all but the `count` newest checkpoints and what interrupted writers left; the newest whole one always
  // stays. 0 or less keeps all.
  void keep_last(int64_t count) const;

  // All checkpoint folders, whole or not, by ascending step.
  std::vector<std::filesystem::path> list() const;

  // Called with the name of each point of save(), in order; a test interrupts there.
  void set_observer(std::function<void(std::string_view point)> observer) { observer_ = std::move(observer); }

 private:
  void write_files(const std::filesystem::path& folder, int64_t step,
                   const std::map<std::string, const base::Stateful*>& states,
                   const std::map<std::string, std::string>& texts) const;
  void at(std::string_view point) const;

  std::filesystem::path folder_;
  std::string run_id_;
  std::function<void(std::string_view)> observer_;
};

// Compares every file of a checkpoint with its manifest. Throws CheckpointError with the reason.
CheckpointInfo verify_checkpoint(const std::filesystem::path& path);

}  // namespace rosa::training
