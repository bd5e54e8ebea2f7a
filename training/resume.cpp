#include "training/resume.h"

#include <nlohmann/json.hpp>
#include <random>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::CheckpointError;
using base::concat;
using base::require;
using nlohmann::json;

constexpr const char* kRecordFile = "run.json";

std::string fresh_run_id() {
  std::random_device random;
  return base::to_hex((uint64_t{random()} << 32) | random());
}

// What rank 0 sees in the folder; the others follow it.
struct Candidates {
  std::vector<std::string> paths;  // newest first
  std::optional<RunRecord> record;
};

Candidates find_candidates(const ResumeRequest& request) {
  const CheckpointStore store(request.run_folder / "checkpoints");
  Candidates candidates;
  candidates.record = read_run_record(request.run_folder);
  if (request.mode != "auto" && request.mode != "none") {
    require<CheckpointError>(fs::is_directory(request.mode), "checkpoint.resume: ", request.mode, " does not exist");
    candidates.paths = {request.mode};
    return candidates;
  }
  for (const fs::path& path : store.list()) candidates.paths.insert(candidates.paths.begin(), path.string());
  if (request.mode == "none") {
    require<base::ConfigError>(candidates.paths.empty(), "checkpoint.resume is none, but ", request.run_folder.string(),
                               " holds checkpoints; choose another run.folder or resume: auto");
    candidates.record.reset();
  }
  const bool lost = candidates.paths.empty() && candidates.record && candidates.record->last_saved_step >= 0;
  require<CheckpointError>(!lost, "the run saved step ", lost ? candidates.record->last_saved_step : 0, ", but ",
                           store.folder().string(),
                           " holds no checkpoint: restore it (is it mounted?), or start anew "
                           "with checkpoint.resume=none or another run.folder");
  return candidates;
}

Candidates share_candidates(const ResumeRequest& request, parallel::Communicator& communicator) {
  json text;
  if (communicator.rank() == 0) {
    const Candidates mine = find_candidates(request);
    text["paths"] = mine.paths;
    if (mine.record) text["record"] = {{"run_id", mine.record->run_id}, {"step", mine.record->last_saved_step}};
  }
  text = json::parse(communicator.broadcast_text(text.dump(), /*root=*/0));
  Candidates candidates;
  candidates.paths = text.at("paths").get<std::vector<std::string>>();
  if (text.contains("record")) {
    candidates.record = {text["record"].at("run_id").get<std::string>(), text["record"].at("step").get<int64_t>()};
  }
  return candidates;
}

// Opens the checkpoint on every rank. Returns why it can't be used, rank by rank; empty: it can.
std::string open_on_all_ranks(const fs::path& path, const Candidates& candidates, const ResumeRequest& request,
                              parallel::Communicator& communicator, std::optional<Checkpoint>& opened) {
  std::string error, checksum;
  try {
    opened = open_checkpoint(path);
    const Manifest& manifest = opened->manifest();
    checksum = manifest.checksum;
    const bool is_ours =
        !candidates.record || request.accept_other_run || manifest.info.run_id == candidates.record->run_id;
    require<CheckpointError>(is_ours, "checkpoint '", path.string(), "' can't be used: it is of run ",
                             manifest.info.run_id, ", but this folder's run is ",
                             is_ours ? "" : candidates.record->run_id, " (--accept-changed run takes it)");
  } catch (const CheckpointError& damage) {
    error = damage.what();
  }
  const std::vector<std::string> errors = communicator.all_gather_text(error);
  const std::vector<std::string> checksums = communicator.all_gather_text(checksum);
  std::string reasons;
  for (size_t rank = 0; rank < errors.size(); ++rank) {
    std::string reason = errors[rank];
    if (reason.empty() && errors[0].empty() && checksums[rank] != checksums[0]) {
      reason = concat("it finds another checkpoint than rank 0 in '", path.string(), "'");
    }
    const bool repeated = rank > 0 && reason == errors[0];
    if (!reason.empty() && !repeated) reasons += concat(reasons.empty() ? "" : "; ", "rank ", rank, ": ", reason);
  }
  return reasons;
}

}  // namespace

std::optional<RunRecord> read_run_record(const fs::path& run_folder) {
  const fs::path path = run_folder / kRecordFile;
  if (!fs::exists(path)) return std::nullopt;
  try {
    const json record = json::parse(base::read_file(path, 1 << 20));
    return RunRecord{record.at("run_id").get<std::string>(), record.at("last_saved_step").get<int64_t>()};
  } catch (const json::exception& error) {
    throw CheckpointError(concat("'", path.string(), "' is damaged (", error.what(),
                                 "); remove it, and the run id is taken from the newest checkpoint"));
  }
}

void write_run_record(const fs::path& run_folder, const RunRecord& record) {
  const json text = {{"run_id", record.run_id}, {"last_saved_step", record.last_saved_step}};
  base::write_file_atomically(run_folder / kRecordFile, text.dump() + "\n");
}

ResumePoint find_resume_point(const ResumeRequest& request, parallel::Communicator& communicator) {
  const Candidates candidates = share_candidates(request, communicator);
  ResumePoint point;
  std::string reasons;
  for (const std::string& path : candidates.paths) {
    const std::string reason = open_on_all_ranks(path, candidates, request, communicator, point.checkpoint);
    if (reason.empty()) {
      const CheckpointInfo& info = point.checkpoint->manifest().info;
      point.record = candidates.record.value_or(RunRecord{info.run_id, info.step});
      if (communicator.rank() == 0) write_run_record(request.run_folder, point.record);
      return point;
    }
    point.checkpoint.reset();
    if (communicator.rank() == 0) base::log_warning(concat("skipped a checkpoint: ", reason));
    reasons += concat("\n  ", reason);
  }
  require<CheckpointError>(reasons.empty(), "none of ", candidates.paths.size(), " checkpoints for '",
                           request.run_folder.string(),
                           "' can be used; restore one, or choose another run folder:", reasons);
  point.record.run_id = communicator.broadcast_text(fresh_run_id(), /*root=*/0);
  if (communicator.rank() == 0) write_run_record(request.run_folder, point.record);
  return point;
}

}  // namespace rosa::training
