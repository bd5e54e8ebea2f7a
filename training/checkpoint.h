// Checkpoint: the form of one checkpoint on disk, how a rank writes its share of it, and how it is verified and read.
// Not where checkpoints are kept (checkpoint_store.h), nor who writes when (checkpoint_writer.h). Knows nothing of what
// it keeps but base::Stateful. The form does not depend on the number of ranks:
//
//   adapter.safetensors     the tensors of the state "adapter" by their own names (rosa_soft's): one file, for anyone
//   state_NNNN.safetensors  the tensors of all other states, as "state/tensor", cut to about shard_bytes
//   state.json              the values of all states; and text files that the caller adds (config.yaml)
//   manifest.json           run id, step, evaluation; size and XXH3 of every file, form and XXH3 of every tensor.
//                           Written last: a folder without a right manifest is no checkpoint
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/safetensors.h"
#include "base/stateful.h"

namespace rosa::training {

// The name of the state whose tensors get their own file.
inline constexpr const char* kAdapterState = "adapter";
inline constexpr const char* kAdapterFile = "adapter.safetensors";
inline constexpr const char* kManifestFile = "manifest.json";

inline constexpr int64_t kShardBytes = int64_t{256} << 20;

using States = std::map<std::string, base::Stateful*>;

// Told the name of each point that a save passes; a test interrupts there (training/save_fault.h).
using SaveObserver = std::function<void(std::string_view point)>;

// The checkpoint that a run went on from, or saved before.
struct ParentCheckpoint {
  int64_t step = 0;
  std::string checksum;  // of its manifest
};

// Whose checkpoint it is.
struct CheckpointInfo {
  std::string run_id;
  int64_t step = 0;
  std::optional<double> evaluation_loss = {};   // of the evaluation after exactly this step, if there was one
  std::string evaluated_by = {};                // checkpoint.best_by: what figure that is; empty: the cross-entropy
  std::optional<ParentCheckpoint> parent = {};  // none: the first one of a run
};

struct FileEntry {
  int64_t bytes = 0;
  std::string checksum;  // XXH3, 64 bits, hexadecimal
};

struct TensorEntry {
  std::string file, name;  // where it is, and its name there
  std::string dtype;
  std::vector<int64_t> shape;
  std::string checksum;
};

// What stands in manifest.json.
struct Manifest {
  CheckpointInfo info;
  std::map<std::string, FileEntry> files;
  std::map<std::string, TensorEntry> tensors;  // by "state/tensor"
  std::string checksum;                        // of the manifest itself
};

// What one rank writes of a checkpoint: a copy, so that training may change the states meanwhile.
struct CheckpointShare {
  std::map<std::string, std::map<std::string, base::StateTensor>> tensor_files;  // by file, then by name in the file
  std::map<std::string, std::string> text_files;
};

// Copies the share of `rank`. Every file is written by one rank: the largest files first, each by the rank that has the
// fewest bytes yet; rank 0 writes the texts. Calls save_state of every state in the order of the names, whatever the
// rank. Throws ArgumentError for a text whose name is no plain one or is taken.
CheckpointShare take_share(const States& states, const std::map<std::string, std::string>& texts, int rank,
                           int num_ranks, int64_t shard_bytes = kShardBytes);

// Writes a share into `folder`, which is made where it is missing, and makes every file durable. Returns its part of
// the manifest. Stops early (CheckpointError) when `cancelled` becomes true. Throws FileError.
std::string write_share(const std::filesystem::path& folder, const CheckpointShare& share,
                        const SaveObserver& observer = {}, const std::atomic<bool>* cancelled = nullptr);

// Makes a checkpoint of a folder that all ranks have written to, whose parts of the manifest are `parts`. Throws
// CheckpointError where a file is not there as it was written (a rank that writes to a disk of its own), FileError.
void write_manifest(const std::filesystem::path& folder, const CheckpointInfo& info,
                    const std::vector<std::string>& parts);

// The manifest alone; says nothing of the files. Throws CheckpointError.
Manifest read_manifest(const std::filesystem::path& folder);

// Whether all files of the manifest are there in their sizes: sees what is cut or missing, without reading it all.
bool looks_whole(const std::filesystem::path& folder);

// A verified checkpoint, open for reading.
class Checkpoint {
 public:
  // Compares every file and tensor with the manifest. Throws CheckpointError, naming folder, file and reason.
  explicit Checkpoint(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const Manifest& manifest() const { return manifest_; }
  bool contains(const std::string& state) const { return values_.contains(state); }
  std::vector<std::string> state_names() const;

  // A state as it was saved. Throws CheckpointError where there is none of this name.
  base::StateDict state(const std::string& name) const;
  // Hands each of `states` its part; others that it holds are left alone. Throws CheckpointError, naming the entry,
  // where one is missing or does not fit.
  void load(const States& states) const;

 private:
  std::filesystem::path folder_;
  Manifest manifest_;
  std::map<std::string, std::map<std::string, base::StateValue>> values_;
  std::map<std::string, base::SafetensorsFile> files_;
};

// As the constructor of Checkpoint. Returns what the manifest says.
CheckpointInfo verify_checkpoint(const std::filesystem::path& folder);

}  // namespace rosa::training
