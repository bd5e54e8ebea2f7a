// Which checkpoints of a run another one descends from: by the parents that manifests name, and by the records that
// stand beside checkpoints that were set aside. Reads only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "training/checkpoint.h"
#include "training/checkpoint_store.h"

namespace rosa::training {

// The folder of `store` for what was set aside in which `checkpoint` lies; nothing where it lies elsewhere.
std::optional<std::filesystem::path> set_aside_folder_of(const CheckpointStore& store,
                                                         const std::filesystem::path& checkpoint);

// Writes into `folder`, a folder of set_aside_folders(), that all in it descends from the store's checkpoint of `step`:
// retention may have removed those between. Nothing for a step of which there is no readable checkpoint. Throws
// FileError.
void record_common_ancestor(const CheckpointStore& store, int64_t step, const std::filesystem::path& folder);

// The step of the newest checkpoint in the store's list that is `checkpoint` or that it descends from; -1: none is
// known. Looks for those between in set_aside_folders() and beside `checkpoint`. What can't be read is skipped.
int64_t newest_common_step(const CheckpointStore& store, const Checkpoint& checkpoint);

}  // namespace rosa::training
