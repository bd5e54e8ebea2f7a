// CheckpointWriter: saves a run beside its training. start() copies the states; a thread of each rank writes that
// rank's share; at the next boundaries of steps the ranks agree that all shares are durable, and rank 0's thread makes
// them a checkpoint and removes old ones. The threads call no collective. At most one save is under way: a further
// one waits for it. A save that fails on any rank fails on all and leaves earlier checkpoints as they were.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "parallel/communicator.h"
#include "training/checkpoint_store.h"

namespace rosa::training {

// How a save ended; equal on every rank.
struct SaveOutcome {
  int64_t step = 0;
  std::filesystem::path folder;  // of the checkpoint
  std::string error;             // empty: it stands; else why not, rank by rank

  bool ok() const { return error.empty(); }
};

struct WriterOptions {
  Retention retention;
  int64_t shard_bytes = kShardBytes;
  // On rank 0, when a checkpoint stands and before old ones go; in the thread.
  std::function<void(const CheckpointInfo&)> on_commit;
};

class CheckpointWriter {
 public:
  // Removes what earlier writers left in `folder`. `observer` is told the points of each save (save_fault.h).
  // Collective: every rank calls it.
  CheckpointWriter(parallel::Communicator& communicator, const std::filesystem::path& folder, WriterOptions options,
                   SaveObserver observer = {});
  // Gives up a save that is under way, without collectives: it waits for this rank's thread to finish its file.
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Begins the save of info.step: returns when the states are copied. None may be under way: finish() it first.
  // Collective: every rank calls it with states of the same names and tensors; values and texts are rank 0's.
  void start(const CheckpointInfo& info, const States& states, const std::map<std::string, std::string>& texts);

  // Takes the save under way a step further if it can without waiting; its outcome when it has ended. Costs one small
  // all_reduce, and nothing when no save is under way. Collective: every rank calls it.
  std::optional<SaveOutcome> poll();

  // Waits for the end of the save under way; nothing when there is none. Collective: every rank calls it.
  std::optional<SaveOutcome> finish();

  // The checkpoint that the next one descends from; each that is saved takes its place. None while a save is under way.
  void set_parent(std::optional<ParentCheckpoint> parent) { parent_ = std::move(parent); }

  bool is_busy() const { return phase_ != Phase::idle; }

 private:
  enum class Phase { idle, writing, committing };
  // What a thread leaves behind: its part of the manifest, or why there is none.
  struct Result {
    std::string part, error;
  };

  template <class Body>
  void run(Body body);
  std::optional<SaveOutcome> advance();
  void begin_commit(std::vector<std::string> parts);
  void commit(const std::vector<std::string>& parts);
  SaveOutcome end(std::string error);
  void discard() const;

  parallel::Communicator& communicator_;
  WriterOptions options_;
  CheckpointStore store_;
  Phase phase_ = Phase::idle;
  CheckpointInfo info_;
  std::optional<ParentCheckpoint> parent_;  // known on rank 0
  std::filesystem::path committed_;
  std::atomic<bool> cancelled_ = false;
  std::future<Result> thread_;  // last: it uses the others
};

}  // namespace rosa::training
