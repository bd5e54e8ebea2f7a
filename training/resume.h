// Where a run goes on: its record (run id), and the newest whole checkpoint as all ranks see it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "parallel/communicator.h"
#include "training/checkpoint_store.h"

namespace rosa::training {

// run.json of the run folder.
struct RunRecord {
  std::string run_id;
  int64_t last_saved_step = -1;  // of all checkpoints; -1: none yet
};

// Nothing where there is none. Throws CheckpointError where it is damaged.
std::optional<RunRecord> read_run_record(const std::filesystem::path& run_folder);
// Atomically. Throws FileError.
void write_run_record(const std::filesystem::path& run_folder, const RunRecord& record);

// So long the processes of a job that was killed may go on to hold its folder.
inline constexpr std::chrono::seconds kEndOfKilledJob(10);

struct ResumeRequest {
  std::filesystem::path run_folder;
  std::string mode;               // checkpoint.resume: auto, none or a checkpoint's folder
  bool accept_other_run = false;  // take checkpoints of another run id
};

struct ResumePoint {
  RunRecord record;  // of the run that goes on, or of a new one with a fresh id
  std::optional<Checkpoint> checkpoint;
};

// Finds the checkpoint to go on from. Every rank verifies it; damage on any rank makes all take the next older one,
// with a warning that says why. A run without any checkpoint gets a fresh id, in its record. Collective: every rank
// calls it. Throws CheckpointError on every rank where there are only damaged checkpoints, where the one that `mode`
// names can't be used, and where the record knows of checkpoints but there are none; ConfigError where mode is none and
// there are.
ResumePoint find_resume_point(const ResumeRequest& request, parallel::Communicator& communicator);

}  // namespace rosa::training
