#include "training/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/safetensors.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::CheckpointError;
using base::concat;
using base::require;
using nlohmann::json;

constexpr int64_t kVersion = 1;
constexpr int64_t kMaxJsonBytes = 64 << 20;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kAdapterFile = "adapter.safetensors";
constexpr const char* kStateFile = "state.safetensors";
constexpr const char* kValuesFile = "state.json";
// Both start so that no listing takes them for checkpoints.
constexpr const char* kTemporaryPrefix = ".writing_";
constexpr const char* kReplacedPrefix = ".replaced_";

std::string folder_name(int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step_%08lld", static_cast<long long>(step));
  return name;
}

// The step of a folder's name, or nothing if it is no checkpoint's.
std::optional<int64_t> step_of(const std::string& name) {
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

// Removes the folder on the way out unless the rename made it a checkpoint.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(fs::path path) : path_(std::move(path)) {
    remove_folder(path_);
    std::error_code error;
    fs::create_directories(path_, error);
    check_system(error, "mkdir", path_);
    base::sync_folder(path_.parent_path());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }
  void release() { path_.clear(); }

 private:
  fs::path path_;
};

void rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  check_system(error, "rename", to);
}

json to_json(const base::StateValue& value) {
  return std::visit([](const auto& inner) { return json(inner); }, value);
}

// JSON has no infinities or NaN, and a double must come back bit for bit as a double: all are written as texts.
json values_to_json(const std::map<std::string, base::StateValue>& values) {
  json result = json::object();
  for (const auto& [name, value] : values) {
    if (const auto* number = std::get_if<double>(&value)) {
      char text[64];
      std::snprintf(text, sizeof(text), "%a", *number);
      result[name] = {{"double", text}};
    } else {
      result[name] = to_json(value);
    }
  }
  return result;
}

base::StateValue value_from_json(const std::string& name, const json& value) {
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_string()) return value.get<std::string>();
  require<CheckpointError>(value.is_object() && value.contains("double") && value["double"].is_string(), kValuesFile,
                           ": entry '", name, "' is neither a whole number, a double nor a text");
  return std::strtod(value["double"].get<std::string>().c_str(), nullptr);
}

std::string to_text(const json& values) {
  try {
    return values.dump(1) + "\n";
  } catch (const json::exception& error) {
    throw CheckpointError(concat("a state's text is no UTF-8 and can't be saved: ", error.what()));
  }
}

json read_json(const fs::path& path) {
  try {
    return json::parse(base::read_file(path, kMaxJsonBytes));
  } catch (const json::exception& error) {
    throw CheckpointError(concat("'", path.string(), "' is no JSON: ", error.what()));
  }
}

base::StateTensor copy_tensor(const base::TensorView& view) {
  return {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
}

// The manifest's field, of the type that is asked for.
template <class Value>
Value manifest_field(const json& manifest, const char* key) {
  try {
    return manifest.at(key).get<Value>();
  } catch (const json::exception& error) {
    throw CheckpointError(concat(kManifest, ": field '", key, "' is missing or wrong (", error.what(), ")"));
  }
}

std::string manifest_checksum(json manifest) {
  manifest.erase("checksum");
  return base::to_hex(base::checksum(manifest.dump()));
}

CheckpointInfo verify_files(const fs::path& path) {
  require<CheckpointError>(fs::exists(path / kManifest), "it has no ", kManifest);
  const json manifest = read_json(path / kManifest);
  require<CheckpointError>(manifest.is_object(), kManifest, " is no JSON object");
  const auto version = manifest_field<int64_t>(manifest, "version");
  require<CheckpointError>(version == kVersion, "it has version ", version, ", this program reads ", kVersion);
  CheckpointInfo info{manifest_field<std::string>(manifest, "run_id"), manifest_field<int64_t>(manifest, "step")};
  require<CheckpointError>(manifest_field<std::string>(manifest, "checksum") == manifest_checksum(manifest), kManifest,
                           " is damaged: its own checksum is wrong");
  for (const auto& [name, checksum] : manifest_field<std::map<std::string, std::string>>(manifest, "files")) {
    require<CheckpointError>(fs::exists(path / name), "its file ", name, " is missing");
    const std::string actual = base::to_hex(base::file_checksum(path / name));
    require<CheckpointError>(actual == checksum, "its file ", name, " is damaged: its checksum is ", actual,
                             ", expected ", checksum);
  }
  return info;
}

}  // namespace

CheckpointInfo verify_checkpoint(const fs::path& path) {
  require<CheckpointError>(fs::is_directory(path), "checkpoint '", path.string(), "' does not exist or is no folder");
  try {
    return verify_files(path);
  } catch (const base::Error& error) {
    throw CheckpointError(concat("checkpoint '", path.string(), "' can't be used: ", error.what()));
  }
}

CheckpointStore::CheckpointStore(fs::path folder, std::string run_id)
    : folder_(std::move(folder)), run_id_(std::move(run_id)) {}

void CheckpointStore::at(std::string_view point) const {
  if (observer_) observer_(point);
}

void CheckpointStore::write_files(const fs::path& folder, int64_t step,
                                  const std::map<std::string, const base::Stateful*>& states,
                                  const std::map<std::string, std::string>& texts) const {
  std::map<std::string, base::StateDict> saved;
  for (const auto& [name, state] : states) saved[name] = state->save_state();
  std::map<std::string, base::TensorView> adapter, others;
  json values = json::object();
  for (const auto& [name, state] : saved) {
    for (const auto& [tensor_name, tensor] : state.tensors) {
      auto& target = name == kAdapterState ? adapter : others;
      target[name == kAdapterState ? tensor_name : name + "/" + tensor_name] = {tensor.dtype, tensor.shape,
                                                                                tensor.bytes};
    }
    values[name] = values_to_json(state.values);
  }
  std::vector<std::string> files;
  auto finish = [&](const std::string& name) {
    files.push_back(name);
    at(name);
  };
  if (states.count(kAdapterState) != 0) {
    base::write_safetensors(folder / kAdapterFile, adapter);
    finish(kAdapterFile);
  }
  base::write_safetensors(folder / kStateFile, others);
  finish(kStateFile);
  base::write_file_atomically(folder / kValuesFile, to_text(values));
  finish(kValuesFile);
  for (const auto& [name, text] : texts) {
    const bool taken = name == kManifest || std::find(files.begin(), files.end(), name) != files.end();
    require(!taken && fs::path(name).filename() == name, "CheckpointStore::save: '", name,
            "' is no name for a text file of a checkpoint");
    base::write_file_atomically(folder / name, text);
    finish(name);
  }
  json manifest = {{"version", kVersion}, {"run_id", run_id_}, {"step", step}, {"files", json::object()}};
  for (const std::string& name : files) manifest["files"][name] = base::to_hex(base::file_checksum(folder / name));
  manifest["checksum"] = manifest_checksum(manifest);
  base::write_file_atomically(folder / kManifest, manifest.dump(1) + "\n");
  at(kManifest);
}

fs::path CheckpointStore::save(int64_t step, const std::map<std::string, const base::Stateful*>& states,
                               const std::map<std::string, std::string>& texts) const {
  require(step >= 0, "CheckpointStore::save: got step ", step, ", expected 0 or more");
  const fs::path path = folder_ / folder_name(step);
  const fs::path replaced = folder_ / (kReplacedPrefix + folder_name(step));
  TemporaryFolder temporary(folder_ / (kTemporaryPrefix + folder_name(step)));
  at("folder");
  write_files(temporary.path(), step, states, texts);
  base::sync_folder(temporary.path());
  at("synced");
  if (fs::exists(path)) {
    // A folder can't be renamed onto another one; for a moment the checkpoint is known by its other name only.
    remove_folder(replaced);
    rename_folder(path, replaced);
    at("replaced");
  }
  rename_folder(temporary.path(), path);
  temporary.release();
  at("renamed");
  base::sync_folder(folder_);
  at("durable");
  remove_folder(replaced);
  return path;
}

std::vector<fs::path> CheckpointStore::list() const {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    // Replaced by a writer that was interrupted before its own checkpoint got the name: still the one of its step.
    const std::string_view prefix = kReplacedPrefix;
    if (name.starts_with(prefix) && !fs::exists(folder_ / name.substr(prefix.size()))) name.erase(0, prefix.size());
    const auto step = step_of(name);
    if (step && entry->is_directory()) found.emplace_back(*step, entry->path());
  }
  if (error == std::errc::no_such_file_or_directory) return {};
  check_system(error, "readdir", folder_);
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

std::optional<fs::path> CheckpointStore::newest_complete() const {
  std::vector<fs::path> paths = list();
  std::string reasons;
  for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
    try {
      verify_checkpoint(*path);
      return *path;
    } catch (const CheckpointError& error) {
      base::log_warning(concat("skipped a damaged checkpoint: ", error.what()));
      reasons += concat("\n  ", error.what());
    }
  }
  require<CheckpointError>(
      reasons.empty(), "'", folder_.string(), "' holds ", paths.size(),
      " checkpoints, none of which can be used; restore one, or choose another run folder:", reasons);
  return std::nullopt;
}

void CheckpointStore::load(const fs::path& path, const std::map<std::string, base::Stateful*>& states) const {
  verify_checkpoint(path);
  const json values = read_json(path / kValuesFile);
  const base::SafetensorsFile others(path / kStateFile);
  for (const auto& [name, state] : states) {
    auto found = values.find(name);
    require<CheckpointError>(found != values.end() && found->is_object(), "checkpoint '", path.string(),
                             "' holds no state '", name, "'; was it written by another kind of run?");
    base::StateDict dict;
    for (const auto& [key, value] : found->items()) dict.values[key] = value_from_json(name + "/" + key, value);
    if (name == kAdapterState) {
      const base::SafetensorsFile adapter(path / kAdapterFile);
      for (const auto& [key, view] : adapter.tensors()) dict.tensors[key] = copy_tensor(view);
    } else {
      const std::string prefix = name + "/";
      for (auto entry = others.tensors().lower_bound(prefix);
           entry != others.tensors().end() && entry->first.starts_with(prefix); ++entry) {
        dict.tensors[entry->first.substr(prefix.size())] = copy_tensor(entry->second);
      }
    }
    try {
      state->load_state(dict);
    } catch (const CheckpointError& error) {
      throw CheckpointError(concat("checkpoint '", path.string(), "', state '", name, "': ", error.what()));
    }
  }
}

void CheckpointStore::keep_last(int64_t count) const {
  std::vector<fs::path> paths = list();
  // One that was replaced is still needed where its successor never came.
  std::error_code error;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool interrupted = name.starts_with(kTemporaryPrefix);
    const bool superseded = name.starts_with(kReplacedPrefix) &&
                            fs::exists(folder_ / name.substr(std::string_view(kReplacedPrefix).size()));
    if (interrupted || superseded) remove_folder(entry->path());
  }
  if (count <= 0 || static_cast<int64_t>(paths.size()) <= count) return;
  const std::optional<fs::path> newest = newest_complete();
  paths.resize(paths.size() - static_cast<size_t>(count));
  for (const fs::path& path : paths) {
    if (newest && path == *newest) continue;
    // Renamed first: an interrupted removal must not leave a damaged checkpoint behind.
    const fs::path doomed = folder_ / (kTemporaryPrefix + path.filename().string());
    remove_folder(doomed);
    rename_folder(path, doomed);
    remove_folder(doomed);
  }
}

}  // namespace rosa::training
