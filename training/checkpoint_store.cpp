#include "training/checkpoint_store.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::CheckpointError;
using base::concat;
using base::require;

// All start so that no listing takes them for checkpoints.
constexpr std::string_view kTemporaryPrefix = ".writing_";
constexpr std::string_view kReplacedPrefix = ".replaced_";
constexpr std::string_view kRemovedPrefix = ".removing_";
constexpr const char* kSetAsideFolder = "set_aside";

std::string without_prefix(std::string name) {
  if (name.starts_with(kReplacedPrefix)) name.erase(0, kReplacedPrefix.size());
  return name;
}

// The step of a folder's name, or nothing if it is no checkpoint's.
std::optional<int64_t> parse_step(const std::string& name) {
  if (!name.starts_with("step_") || name.size() < 13 || name.size() > 23) return std::nullopt;
  int64_t step = 0;
  for (char digit : name.substr(5)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    step = step * 10 + (digit - '0');
  }
  return step;
}

void check_system(const std::error_code& error, const char* call, const fs::path& path) {
  require<base::FileError>(!error, call, " failed for '", path.string(), "': ", error.message());
}

void remove_folder(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  check_system(error, "remove", path);
}

void rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  check_system(error, "rename", to);
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    paths.push_back(entry->path());
  }
  if (error == std::errc::no_such_file_or_directory) return {};
  check_system(error, "readdir", folder);
  return paths;
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path folder, std::string writer)
    : folder_(std::move(folder)), writer_(std::move(writer)) {}

std::string CheckpointStore::folder_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step_%08lld", static_cast<long long>(step));
  return name;
}

void CheckpointStore::at(std::string_view point) const {
  if (observer_) observer_(point);
}

fs::path CheckpointStore::temporary_folder(int64_t step) const {
  return folder_ / concat(kTemporaryPrefix, folder_name(step), writer_.empty() ? "" : "_", writer_);
}

fs::path CheckpointStore::commit(const CheckpointInfo& info, const std::vector<std::string>& parts) const {
  const fs::path path = folder_ / folder_name(info.step);
  const fs::path temporary = temporary_folder(info.step);
  const fs::path replaced = folder_ / concat(kReplacedPrefix, folder_name(info.step));
  at("gathered");
  write_manifest(temporary, info, parts);
  at("manifest");
  base::sync_folder(temporary);
  // The names of the checkpoints' folder and of what is in it: both may be new.
  base::sync_folder(folder_);
  if (folder_.has_parent_path()) base::sync_folder(folder_.parent_path());
  at("synced");
  const bool replaces = fs::exists(path);
  if (replaces) {
    // A folder can't be renamed onto another one; for a moment the checkpoint is known by its other name only.
    remove_folder(replaced);
    rename_folder(path, replaced);
  }
  try {
    if (replaces) at("replaced");
    rename_folder(temporary, path);
  } catch (const base::Error&) {
    std::error_code ignored;
    if (replaces) fs::rename(replaced, path, ignored);
    throw;
  }
  at("renamed");
  base::sync_folder(folder_);
  at("durable");
  std::error_code ignored;  // what stays is removed with the leftovers of others
  fs::remove_all(replaced, ignored);
  return path;
}

void CheckpointStore::discard(int64_t step) const { remove_folder(temporary_folder(step)); }

fs::path CheckpointStore::save(const CheckpointInfo& info, const States& states,
                               const std::map<std::string, std::string>& texts) const {
  require(info.step >= 0, "CheckpointStore::save: got step ", info.step, ", expected 0 or more");
  const CheckpointShare share = take_share(states, texts, /*rank=*/0, /*num_ranks=*/1);
  discard(info.step);
  try {
    return commit(info, {write_share(temporary_folder(info.step), share, observer_)});
  } catch (const base::Error&) {
    discard(info.step);
    throw;
  }
}

std::vector<fs::path> CheckpointStore::list() const {
  std::vector<std::pair<int64_t, fs::path>> found;
  for (const fs::path& path : entries_of(folder_)) {
    std::string name = path.filename().string();
    // Replaced by a writer that was interrupted before its own checkpoint got the name: still the one of its step.
    if (name.starts_with(kReplacedPrefix) && !fs::exists(folder_ / without_prefix(name))) name = without_prefix(name);
    const auto step = parse_step(name);
    if (step && fs::is_directory(path)) found.emplace_back(*step, path);
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

int64_t CheckpointStore::step_of(const fs::path& path) {
  const auto step = parse_step(without_prefix(path.filename().string()));
  require(step.has_value(), "'", path.string(), "' is no folder of a checkpoint");
  return *step;
}

std::optional<Checkpoint> CheckpointStore::newest_complete() const {
  const std::vector<fs::path> paths = list();
  std::string reasons;
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      return open_checkpoint(*path);
    } catch (const CheckpointError& error) {
      base::log_warning(concat("skipped a damaged checkpoint: ", error.what()));
      reasons += concat(reasons.empty() ? "" : "; ", error.what());
    }
  }
  require<CheckpointError>(
      reasons.empty(), "'", folder_.string(), "' holds ", paths.size(),
      " checkpoints, none of which can be used; restore one, or choose another run folder: ", reasons);
  return std::nullopt;
}

void CheckpointStore::remove_leftovers() const {
  for (const fs::path& path : entries_of(folder_)) {
    const std::string name = path.filename().string();
    // One that was replaced is still needed where its successor never came.
    const bool superseded = name.starts_with(kReplacedPrefix) && fs::exists(folder_ / without_prefix(name));
    if (superseded || name.starts_with(kTemporaryPrefix) || name.starts_with(kRemovedPrefix)) remove_folder(path);
  }
}

bool CheckpointStore::holds(const fs::path& checkpoint) const {
  std::error_code ignored;
  const fs::path absolute = fs::weakly_canonical(checkpoint, ignored);
  return absolute.has_parent_path() && fs::equivalent(absolute.parent_path(), folder_, ignored);
}

std::vector<fs::path> CheckpointStore::later_than(int64_t step) const {
  std::vector<fs::path> paths = list();
  std::erase_if(paths, [step](const fs::path& path) { return step_of(path) <= step; });
  return paths;
}

std::vector<fs::path> CheckpointStore::set_aside_folders() const {
  std::vector<fs::path> folders = entries_of(folder_ / kSetAsideFolder);
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string CheckpointStore::name_to_set_aside(int64_t step) const {
  const std::string first = concat("after_", step < 0 ? "nothing" : folder_name(step));
  std::string name = first;
  for (int i = 2; fs::exists(folder_ / kSetAsideFolder / name); ++i) name = concat(first, "_", i);
  return name;
}

fs::path CheckpointStore::set_aside(int64_t step, const std::string& name) const {
  const fs::path target = folder_ / kSetAsideFolder / name;
  std::error_code error;
  fs::create_directories(target, error);
  check_system(error, "mkdir", target);
  const std::vector<fs::path> paths = later_than(step);
  // The newest first: what an interruption leaves is still without a gap.
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    at(concat("setting_aside:", path->filename().string()));
    rename_folder(*path, target / without_prefix(path->filename().string()));
  }
  base::sync_folder(target);
  base::sync_folder(folder_ / kSetAsideFolder);
  base::sync_folder(folder_);
  at("set_aside");
  return target;
}

std::optional<int64_t> CheckpointStore::newest_whole_step(const fs::path& whole) const {
  if (!whole.empty()) return step_of(whole);
  const std::vector<fs::path> paths = list();
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      open_checkpoint(*path);
      return step_of(*path);
    } catch (const CheckpointError&) {
      // Whoever resumes says why.
    }
  }
  return std::nullopt;
}

void CheckpointStore::retain(const Retention& retention, const fs::path& whole) const {
  remove_leftovers();
  if (retention.last <= 0) return;
  const std::optional<int64_t> newest = newest_whole_step(whole);
  if (!newest) return;

  std::vector<int64_t> steps;                       // of those that look whole, the newest first
  std::vector<std::pair<double, int64_t>> by_loss;  // the lower step wins a tie
  const std::vector<fs::path> paths = list();
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    // What is newer is none of this writer's: it stays, and takes no place of those that are kept.
    if (step_of(*path) > *newest || !looks_whole(*path)) continue;
    steps.push_back(step_of(*path));
    const CheckpointInfo info = read_manifest(*path).info;
    const auto loss = info.evaluated_by == retention.best_by ? info.evaluation_loss : std::nullopt;
    if (loss) by_loss.emplace_back(*loss, steps.back());
  }
  std::sort(by_loss.begin(), by_loss.end());
  steps.resize(std::min(steps.size(), static_cast<size_t>(retention.last)));
  std::set<int64_t> kept(steps.begin(), steps.end());
  for (size_t i = 0; i < by_loss.size() && i < static_cast<size_t>(retention.best); ++i) kept.insert(by_loss[i].second);

  for (const fs::path& path : paths) {
    const int64_t step = step_of(path);
    const bool is_kth = retention.every > 0 && step % retention.every == 0;
    if (step >= *newest || is_kth || kept.contains(step)) continue;
    // Renamed first: an interrupted removal must not leave a damaged checkpoint behind.
    const fs::path doomed = folder_ / concat(kRemovedPrefix, folder_name(step));
    remove_folder(doomed);
    rename_folder(path, doomed);
    at("removing");
    remove_folder(doomed);
    at("removed");
  }
}

void remove_leftovers_of_saves(const CheckpointStore& store) {
  try {
    store.remove_leftovers();
  } catch (const base::FileError& error) {
    base::log_warning(concat("can't remove what an interrupted save left: ", error.what()));
  }
}

Checkpoint open_checkpoint(const fs::path& folder) {
  Checkpoint checkpoint(folder);
  const auto step = parse_step(without_prefix(folder.filename().string()));
  require<CheckpointError>(!step || *step == checkpoint.manifest().info.step, "checkpoint '", folder.string(),
                           "' can't be used: it is of step ", checkpoint.manifest().info.step,
                           ", not of the step in its name");
  return checkpoint;
}

}  // namespace rosa::training
