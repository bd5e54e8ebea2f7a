// Where a run goes on: its record (run id), and the newest whole checkpoint as all ranks see it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "training/checkpoint_store.h"

namespace rosa::training {

// run.json of the run folder.
struct RunRecord {
  // A checkpoint that checkpoint.resume named, and from which the run went on.
  struct Origin {
    std::filesystem::path path;  // of a checkpoint of the run itself relative to its folder, else absolute
    std::string checksum;        // of its manifest
    int64_t step = -1;           // -1: not recorded; no checkpoint of the run is older then
  };
  // Checkpoints of steps after `step` are on their way to the folder `name` (CheckpointStore::set_aside).
  struct SettingAside {
    int64_t step = 0;
    std::string name;
    // The folder that an earlier line was set aside in, whose metrics and consumed samples come back; empty: none.
    std::string taken_up = {};
  };

  std::string run_id;
  int64_t last_saved_step = -1;  // of all checkpoints; -1: none yet
  std::optional<Origin> origin = {};
  std::optional<SettingAside> setting_aside = {};
};

// Nothing where there is none. Throws CheckpointError where it is damaged.
std::optional<RunRecord> read_run_record(const std::filesystem::path& run_folder);
// Atomically. Throws FileError.
void write_run_record(const std::filesystem::path& run_folder, const RunRecord& record);

struct ResumeRequest {
  std::filesystem::path run_folder;
  // checkpoint.resume: auto, none, or a checkpoint: its folder, or its name alone where it is one of the run's.
  std::string mode;
  bool accept_other_run = false;  // take checkpoints of another run id
  bool only_look = false;         // find_resume_point() writes nothing: a new run has no id then
};

struct ResumePoint {
  RunRecord record;  // of the run that goes on, or of a new one with a fresh id
  std::optional<Checkpoint> checkpoint;
  bool is_new_line = false;  // `mode` names the checkpoint, and the run did not go on from it before
};

// Finds the checkpoint to go on from. Every rank verifies it; damage on any rank makes all take the next older one,
// with a warning that says why. A run without any checkpoint gets a fresh id, in its record.
//
// A checkpoint that `mode` names is gone back to once: where the record says that the run went on from it, the newest
// checkpoint counts, as with auto. So a job that is started again with the same key goes on.
//
// Collective: every rank calls it. Throws CheckpointError on every rank where there are only damaged checkpoints, where
// the one that `mode` names can't be used, and where the record knows of checkpoints but there are none; ConfigError
// where mode is none and there are.
ResumePoint find_resume_point(const ResumeRequest& request, parallel::Communicator& communicator);

// Makes the run's history one line that ends at the checkpoint of `point`: the checkpoints of the run folder that it
// does not descend from (training/lineage.h) are set aside with a copy of metrics.jsonl and of consumed/, and the
// record remembers the checkpoint that `mode` named. A line that was set aside and is taken up again brings its metrics
// and consumed samples back. Nothing is removed. A process that is killed in here is made up for by the next
// find_resume_point(). Returns the folder where they are now; empty: there were none. To be called when the states of
// the checkpoint are loaded, before anything of the run folder is written. On rank 0 only. Throws FileError.
std::filesystem::path begin_line(const ResumeRequest& request, ResumePoint& point);

}  // namespace rosa::training
