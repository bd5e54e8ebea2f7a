// CheckpointStore: the checkpoints of a run as folders `step_00000100` of one parent folder, each whole or not there:
// written under another name and renamed. Picks, keeps and removes whole checkpoints; their inside is checkpoint.h's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "training/checkpoint.h"

namespace rosa::training {

// Which checkpoints stay, besides the newest whole one.
struct Retention {
  int64_t last = 0;          // the newest; 0: all stay
  int64_t every = 0;         // those whose step is a multiple of it; 0: none for that
  int64_t best = 0;          // those with the lowest evaluation loss
  std::string best_by = {};  // the figure that counts (CheckpointInfo::evaluated_by); others are not compared with it
};

class CheckpointStore {
 public:
  // `folder` need not exist. `writer` tells this program's unfinished folders from those of others that were killed.
  explicit CheckpointStore(std::filesystem::path folder, std::string writer = {});

  const std::filesystem::path& folder() const { return folder_; }

  // Where the ranks write the checkpoint of `step` before it is whole.
  std::filesystem::path temporary_folder(int64_t step) const;
  // Makes what the ranks wrote there the checkpoint of info.step, durably, and returns its folder; one of the same step
  // is replaced. One process calls it. Throws FileError or CheckpointError; earlier checkpoints are untouched then.
  std::filesystem::path commit(const CheckpointInfo& info, const std::vector<std::string>& parts) const;
  // Removes what was written of a checkpoint that failed. Throws FileError.
  void discard(int64_t step) const;

  // The whole save by one process: throws as above and leaves nothing half-written.
  std::filesystem::path save(const CheckpointInfo& info, const States& states,
                             const std::map<std::string, std::string>& texts = {}) const;

  // All checkpoint folders, whole or not, by ascending step.
  std::vector<std::filesystem::path> list() const;
  static std::string folder_name(int64_t step);
  // The step of a folder of list().
  static int64_t step_of(const std::filesystem::path& path);

  // The newest checkpoint that is whole; nothing where there are no checkpoints. Skips damaged ones with a warning.
  // Throws CheckpointError, with a reason for each, if there are only damaged ones.
  std::optional<Checkpoint> newest_complete() const;

  // Whether `checkpoint` lies in this store's folder, whatever its path is spelled like.
  bool holds(const std::filesystem::path& checkpoint) const;

  // Checkpoints of another line of the run's history leave the list, and nothing is removed: set_aside() moves those of
  // steps after `step`, whole or not, to the folder set_aside/NAME of the store. May be interrupted anywhere and called
  // again with the same name. Throws FileError.
  std::vector<std::filesystem::path> later_than(int64_t step) const;
  std::filesystem::path set_aside(int64_t step, const std::string& name) const;
  // What was set aside so far, by name.
  std::vector<std::filesystem::path> set_aside_folders() const;
  // A name for it that is not taken yet: "after_step_00000020", "after_step_00000020_2", ...
  std::string name_to_set_aside(int64_t step) const;

  // Removes what `retention` does not keep, and what interrupted writers left. Never the newest whole one, nor anything
  // newer. `whole`: the checkpoint that was just saved; it counts as the newest whole one and is not verified. May be
  // interrupted anywhere.
  void retain(const Retention& retention, const std::filesystem::path& whole = {}) const;

  // Removes what interrupted writers left and is no checkpoint. Throws FileError.
  void remove_leftovers() const;

  void set_observer(SaveObserver observer) { observer_ = std::move(observer); }
  const SaveObserver& observer() const { return observer_; }

 private:
  void at(std::string_view point) const;
  std::optional<int64_t> newest_whole_step(const std::filesystem::path& whole) const;

  std::filesystem::path folder_;
  std::string writer_;
  SaveObserver observer_;
};

// remove_leftovers() where failing to is a warning.
void remove_leftovers_of_saves(const CheckpointStore& store);

// Verifies a checkpoint of a store: its folder's name, too. Throws CheckpointError.
Checkpoint open_checkpoint(const std::filesystem::path& folder);

}  // namespace rosa::training
