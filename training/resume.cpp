#include "training/resume.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <random>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "training/lineage.h"
#include "training/save_fault.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::CheckpointError;
using base::concat;
using base::require;
using nlohmann::json;

constexpr const char* kRecordFile = "run.json";
constexpr int64_t kMaxRecordBytes = int64_t{1} << 20;

std::string fresh_run_id() {
  std::random_device random;
  return base::to_hex((uint64_t{random()} << 32) | random());
}

json to_json(const RunRecord& record) {
  json text = {{"run_id", record.run_id}, {"last_saved_step", record.last_saved_step}};
  if (record.origin) {
    text["resumed_from"] = {{"path", base::bytes_to_json(record.origin->path.string())},
                            {"checksum", record.origin->checksum},
                            {"step", record.origin->step}};
  }
  if (record.setting_aside) {
    text["setting_aside"] = {{"after_step", record.setting_aside->step},
                             {"folder", record.setting_aside->name},
                             {"taken_up", base::bytes_to_json(record.setting_aside->taken_up)}};
  }
  return text;
}

RunRecord record_from_json(const json& text, const std::string& place) {
  const base::JsonFields fields(text, place, base::throw_json_error<CheckpointError>);
  RunRecord record{fields.required_text("run_id"), fields.required_integer("last_saved_step", -1)};
  if (const auto origin = fields.object("resumed_from")) {
    const auto path = origin->has("path") ? base::bytes_from_json(origin->value().at("path")) : std::nullopt;
    if (!path) origin->fail("path", "is no text");
    record.origin = {*path, origin->required_text("checksum"), origin->integer("step").value_or(-1)};
  }
  if (const auto aside = fields.object("setting_aside")) {
    record.setting_aside = {aside->required_integer("after_step", -1), aside->required_text("folder")};
    const bool is_plain =
        record.setting_aside->name.starts_with("after_") && record.setting_aside->name.find('/') == std::string::npos;
    if (!is_plain) aside->fail("folder", "is no name that this program gives");
    if (aside->has("taken_up")) {
      record.setting_aside->taken_up = base::bytes_from_json(aside->value().at("taken_up")).value_or("");
      const bool is_name = record.setting_aside->taken_up.find('/') == std::string::npos;
      if (!is_name) aside->fail("taken_up", "is no name of a folder");
    }
  }
  return record;
}

CheckpointStore store_of(const fs::path& run_folder) { return CheckpointStore(run_folder / "checkpoints"); }

// What rank 0 sees in the folder; the others follow it.
struct Candidates {
  std::vector<std::string> paths;  // newest first
  std::optional<RunRecord> record;
  bool is_new_line = false;
};

fs::path absolute_path(const fs::path& path) {
  std::error_code error;
  const fs::path absolute = fs::weakly_canonical(path, error);
  return error ? path : absolute;
}

// What is no path stands for a checkpoint of the run, also for one that was set aside.
fs::path named_checkpoint(const ResumeRequest& request) {
  const fs::path own = request.run_folder / "checkpoints" / request.mode;
  const bool is_name = !fs::path(request.mode).has_parent_path();
  return !fs::exists(request.mode) && (is_name || fs::exists(own)) ? own : fs::path(request.mode);
}

// A path in the run folder is kept relative to it: the folder may be moved.
fs::path origin_path(const fs::path& run_folder, const RunRecord::Origin& origin) {
  return absolute_path(origin.path.is_relative() ? run_folder / origin.path : origin.path);
}

fs::path path_to_record(const fs::path& run_folder, const fs::path& checkpoint) {
  const fs::path path = absolute_path(checkpoint);
  const fs::path relative = path.lexically_relative(absolute_path(run_folder));
  const bool is_inside = !relative.empty() && *relative.begin() != "..";
  return is_inside ? relative : path;
}

// Whether the run went on from the checkpoint before. Retention may have removed it since.
bool went_on_from(const fs::path& run_folder, const std::optional<RunRecord>& record, const fs::path& named) {
  if (!record || !record->origin) return false;
  if (fs::exists(named / kManifestFile)) return read_manifest(named).checksum == record->origin->checksum;
  return absolute_path(named) == origin_path(run_folder, *record->origin);
}

// The lines of each step: a file, and a folder of files.
constexpr std::array kLineFiles = {"metrics.jsonl", "consumed"};

// Copies file or folder; what is at `to` already stays. Whole or not at all, also where it is interrupted. A failure is
// a warning, and false: the lines are not worth a checkpoint.
bool copy_whole(const fs::path& from, const fs::path& to) {
  std::error_code error;
  if (!fs::exists(from, error) || fs::exists(to, error)) return true;
  const fs::path temporary = to.parent_path() / concat(".", to.filename().string());
  fs::remove_all(temporary, error);
  if (!error) fs::copy(from, temporary, fs::copy_options::recursive, error);
  if (!error) fs::rename(temporary, to, error);
  if (error) base::log_warning(concat("can't copy '", from.string(), "' to '", to.string(), "': ", error.message()));
  return !error;
}

// The lines of the present line of history go to `folder`, and those of the line that is taken up come back.
void exchange_lines(const fs::path& run_folder, const fs::path& folder, const std::string& taken_up) {
  for (const char* name : kLineFiles) {
    const bool is_safe = copy_whole(run_folder / name, folder / name);
    const fs::path earlier = folder.parent_path() / taken_up / name;
    std::error_code error;
    if (!is_safe || taken_up.empty() || !fs::exists(earlier, error)) continue;
    fs::remove_all(run_folder / name, error);
    copy_whole(earlier, run_folder / name);
  }
}

// Moves what the record says, and takes the mark off. Returns where it is now.
fs::path finish_setting_aside(const fs::path& run_folder, RunRecord& record) {
  CheckpointStore store = store_of(run_folder);
  store.set_observer(save_faults_of_environment(/*rank=*/0));
  const RunRecord::SettingAside& aside = *record.setting_aside;
  const fs::path folder = store.set_aside(aside.step, aside.name);
  record_common_ancestor(store, aside.step, folder);
  exchange_lines(run_folder, folder, aside.taken_up);
  record.setting_aside.reset();
  write_run_record(run_folder, record);
  return folder;
}

// Of a new run. Metrics of an earlier one in the same folder, whose checkpoints are gone, are kept.
void start_record(const fs::path& run_folder, RunRecord& record) {
  std::error_code absent;
  const auto size = fs::file_size(run_folder / "metrics.jsonl", absent);
  if (absent || size == 0) return write_run_record(run_folder, record);
  record.setting_aside = {-1, store_of(run_folder).name_to_set_aside(-1)};
  base::log_info(
      concat("the metrics of an earlier run are now in '", finish_setting_aside(run_folder, record).string(), "'"));
}

Candidates find_candidates(const ResumeRequest& request) {
  const CheckpointStore store = store_of(request.run_folder);
  Candidates candidates;
  candidates.record = read_run_record(request.run_folder);
  std::optional<RunRecord>& record = candidates.record;
  std::vector<fs::path> own = store.list();
  if (record && record->setting_aside) {
    const std::vector<fs::path> later = store.later_than(record->setting_aside->step);
    std::erase_if(own,
                  [&](const fs::path& path) { return std::find(later.begin(), later.end(), path) != later.end(); });
    if (!request.only_look) finish_setting_aside(request.run_folder, *record);
  }
  if (request.mode != "auto" && request.mode != "none") {
    const fs::path named = named_checkpoint(request);
    if (!went_on_from(request.run_folder, record, named)) {
      const std::string newest =
          own.empty() ? "holds none" : concat("has ", own.back().filename().string(), " as newest");
      require<CheckpointError>(
          fs::is_directory(named), "checkpoint.resume is '", request.mode,
          "', but there is no such checkpoint; expected auto, none, the folder of a checkpoint, or ",
          "the name of one in ", store.folder().string(), ", which ", newest);
      candidates.paths = {named.string()};
      candidates.is_new_line = true;
      return candidates;
    }
    base::log_info(concat("the run went on from '", named.string(), "' before: taking the newest checkpoint since (to ",
                          "go back there once more, move the later ones away)"));
  }
  for (const fs::path& path : own) candidates.paths.insert(candidates.paths.begin(), path.string());
  if (request.mode == "none") {
    require<base::ConfigError>(candidates.paths.empty(), "checkpoint.resume is none, but ", request.run_folder.string(),
                               " holds checkpoints; choose another run.folder or resume: auto");
    record.reset();
    return candidates;
  }
  // The first of the line, where it lies elsewhere.
  if (record && record->origin) {
    const fs::path origin = origin_path(request.run_folder, *record->origin);
    // After what was saved since, be it of the same step, before what both lines share.
    const auto older = std::find_if(candidates.paths.begin(), candidates.paths.end(), [&](const std::string& path) {
      return CheckpointStore::step_of(path) < record->origin->step;
    });
    if (!store.holds(origin)) candidates.paths.insert(older, origin.string());
  }
  const bool lost = candidates.paths.empty() && record && record->last_saved_step >= 0;
  require<CheckpointError>(!lost, "the run saved step ", lost ? record->last_saved_step : 0, ", but ",
                           store.folder().string(),
                           " holds no checkpoint: restore it (is it mounted?), or start anew "
                           "with checkpoint.resume=none or another run.folder");
  return candidates;
}

Candidates share_candidates(const ResumeRequest& request, parallel::Communicator& communicator) {
  json text;
  if (communicator.rank() == 0) {
    const Candidates mine = find_candidates(request);
    text = {{"paths", mine.paths}, {"is_new_line", mine.is_new_line}};
    if (mine.record) text["record"] = to_json(*mine.record);
  }
  // Not as JSON's text: paths may hold any bytes.
  const std::vector<uint8_t> packed = json::to_msgpack(text);
  text = json::from_msgpack(communicator.broadcast_text({packed.begin(), packed.end()}, /*root=*/0));
  Candidates candidates;
  candidates.paths = text.at("paths").get<std::vector<std::string>>();
  candidates.is_new_line = text.at("is_new_line").get<bool>();
  if (text.contains("record")) candidates.record = record_from_json(text["record"], "run.json");
  return candidates;
}

bool is_of_this_run(const Checkpoint& checkpoint, const Candidates& candidates, const ResumeRequest& request) {
  if (!candidates.record || request.accept_other_run) return true;
  const Manifest& manifest = checkpoint.manifest();
  const auto& origin = candidates.record->origin;
  return manifest.info.run_id == candidates.record->run_id || (origin && origin->checksum == manifest.checksum);
}

// Opens the checkpoint on every rank. Returns why it can't be used, rank by rank; empty: it can.
std::string open_on_all_ranks(const fs::path& path, const Candidates& candidates, const ResumeRequest& request,
                              parallel::Communicator& communicator, std::optional<Checkpoint>& opened) {
  std::string error, checksum;
  try {
    opened = open_checkpoint(path);
    const Manifest& manifest = opened->manifest();
    checksum = manifest.checksum;
    const bool is_ours = is_of_this_run(*opened, candidates, request);
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
    return record_from_json(base::read_json<CheckpointError>(path, kMaxRecordBytes), path.string());
  } catch (const CheckpointError& error) {
    throw CheckpointError(
        concat(error.what(), "; remove the file, and the run id is taken from the newest checkpoint"));
  }
}

void write_run_record(const fs::path& run_folder, const RunRecord& record) {
  base::write_file_atomically(run_folder / kRecordFile, to_json(record).dump() + "\n");
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
      point.is_new_line = candidates.is_new_line;
      // What the folder has already is not written again: its disk may be full.
      const bool writes = communicator.rank() == 0 && !candidates.record && !request.only_look;
      if (writes) write_run_record(request.run_folder, point.record);
      return point;
    }
    point.checkpoint.reset();
    if (communicator.rank() == 0) base::log_warning(concat("skipped a checkpoint: ", reason));
    reasons += concat(reasons.empty() ? "" : "; ", reason);
  }
  require<CheckpointError>(reasons.empty(), "none of ", candidates.paths.size(), " checkpoints for '",
                           request.run_folder.string(),
                           "' can be used; restore one, or choose another run folder: ", reasons);
  if (request.only_look) return point;
  point.record.run_id = communicator.broadcast_text(fresh_run_id(), /*root=*/0);
  if (communicator.rank() == 0) start_record(request.run_folder, point.record);
  return point;
}

fs::path begin_line(const ResumeRequest& request, ResumePoint& point) {
  const CheckpointStore store = store_of(request.run_folder);
  const Checkpoint& checkpoint = *point.checkpoint;
  const bool is_own = store.holds(checkpoint.folder());
  RunRecord& record = point.record;
  // Where the key is gone, the next one that names a checkpoint is a new wish.
  const bool forget = request.mode == "auto" && is_own && record.origin.has_value();
  if (forget) record.origin.reset();
  std::string taken_up;
  if (point.is_new_line) {
    const CheckpointInfo& info = checkpoint.manifest().info;
    record.origin = {path_to_record(request.run_folder, checkpoint.folder()), checkpoint.manifest().checksum,
                     info.step};
    const auto aside = set_aside_folder_of(store, checkpoint.folder());
    if (aside) taken_up = aside->filename().string();
  }

  const int64_t shared_step = is_own ? checkpoint.manifest().info.step : newest_common_step(store, checkpoint);
  const bool has_later = !store.later_than(shared_step).empty();
  if (has_later) record.last_saved_step = checkpoint.manifest().info.step;
  if (has_later || !taken_up.empty()) {
    record.setting_aside = {shared_step, store.name_to_set_aside(shared_step), taken_up};
  } else if (!forget && !point.is_new_line) {
    return {};
  }
  write_run_record(request.run_folder, record);
  return record.setting_aside ? finish_setting_aside(request.run_folder, record) : fs::path();
}

}  // namespace rosa::training
