#include "training/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::CheckpointError;
using base::concat;
using base::require;
using nlohmann::json;

constexpr int64_t kVersion = 2;
constexpr int64_t kMaxJsonBytes = int64_t{1} << 30;
constexpr const char* kValuesFile = "state.json";

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

// JSON has no infinities or NaN, and a double must come back bit for bit as a double: it is written as a text. A text
// may hold any bytes.
json to_json(const base::StateValue& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    char text[64];
    std::snprintf(text, sizeof(text), "%a", *number);
    return {{"double", text}};
  }
  if (const auto* text = std::get_if<std::string>(&value)) return base::bytes_to_json(*text);
  return std::get<int64_t>(value);
}

base::StateValue value_from_json(const std::string& name, const json& value) {
  if (value.is_number_integer()) return value.get<int64_t>();
  if (const auto text = base::bytes_from_json(value)) return *text;
  require<CheckpointError>(value.is_object() && value.contains("double") && value["double"].is_string(), kValuesFile,
                           ": entry '", name, "' is neither a whole number, a double nor a text");
  return std::strtod(value["double"].get<std::string>().c_str(), nullptr);
}

std::string values_text(const std::map<std::string, base::StateDict>& states) {
  json values = json::object();
  for (const auto& [state, dict] : states) {
    values[state] = json::object();
    for (const auto& [name, value] : dict.values) values[state][name] = to_json(value);
  }
  return values.dump(1) + "\n";
}

base::JsonFields fields_of(const json& object, const std::string& place) {
  return {object, place, base::throw_json_error<CheckpointError>};
}

std::string manifest_checksum(json manifest) {
  manifest.erase("checksum");
  return base::to_hex(base::checksum(manifest.dump()));
}

CheckpointInfo parse_info(const base::JsonFields& fields) {
  CheckpointInfo info;
  info.run_id = fields.required_text("run_id");
  info.step = fields.required_integer("step", 0);
  info.evaluation_loss = fields.number("evaluation_loss");
  info.evaluated_by = fields.text("evaluated_by").value_or("");
  if (const auto parent = fields.object("parent")) {
    info.parent = {parent->required_integer("step", 0), parent->required_text("checksum")};
  }
  return info;
}

Manifest parse_manifest(const json& object) {
  const base::JsonFields fields = fields_of(object, kManifestFile);
  const int64_t version = fields.required_integer("version");
  require<CheckpointError>(version == kVersion, "it has version ", version, ", this program reads ", kVersion);
  Manifest manifest;
  manifest.checksum = fields.required_text("checksum");
  require<CheckpointError>(manifest.checksum == manifest_checksum(object), kManifestFile,
                           " is damaged: its own checksum is wrong");
  manifest.info = parse_info(fields);
  for (const auto& [name, entry] : fields.required_object("files").members()) {
    if (!is_plain_name(name)) entry.fail(name, "is no name of a file");
    manifest.files[name] = {entry.required_integer("bytes", 0), entry.required_text("xxh3")};
  }
  for (const auto& [name, entry] : fields.required_object("tensors").members()) {
    TensorEntry& tensor = manifest.tensors[name];
    tensor.file = entry.required_text("file");
    tensor.name = entry.required_text("name");
    tensor.dtype = entry.required_text("dtype");
    tensor.shape = entry.required_integers("shape");
    tensor.checksum = entry.required_text("xxh3");
    if (!manifest.files.contains(tensor.file)) entry.fail("file", "is '" + tensor.file + "', which is not listed");
  }
  return manifest;
}

// A file of tensors before it is given to a rank.
struct PlannedFile {
  std::string name;
  std::vector<std::pair<std::string, std::string>> tensors;  // (state, tensor)
  int64_t bytes = 0;
  int rank = 0;
};

std::string name_in_file(const std::string& state, const std::string& tensor) {
  return state == kAdapterState ? tensor : state + "/" + tensor;
}

std::vector<PlannedFile> plan_files(const std::map<std::string, base::StateDict>& states, int64_t shard_bytes) {
  std::vector<PlannedFile> others;
  PlannedFile adapter;
  adapter.name = kAdapterFile;
  for (const auto& [state, dict] : states) {
    for (const auto& [name, tensor] : dict.tensors) {
      const auto bytes = static_cast<int64_t>(tensor.bytes.size());
      if (state != kAdapterState && (others.empty() || others.back().bytes + bytes > shard_bytes)) {
        char file[40];
        std::snprintf(file, sizeof(file), "state_%04zu.safetensors", others.size());
        others.emplace_back().name = file;
      }
      PlannedFile& file = state == kAdapterState ? adapter : others.back();
      file.tensors.emplace_back(state, name);
      file.bytes += bytes;
    }
  }
  if (states.contains(kAdapterState)) others.push_back(std::move(adapter));
  return others;
}

void assign_to_ranks(std::vector<PlannedFile>& files, int num_ranks) {
  std::stable_sort(files.begin(), files.end(),
                   [](const PlannedFile& left, const PlannedFile& right) { return left.bytes > right.bytes; });
  std::vector<int64_t> bytes(static_cast<size_t>(num_ranks), 0);
  for (PlannedFile& file : files) {
    const auto lightest = std::min_element(bytes.begin(), bytes.end());
    file.rank = static_cast<int>(lightest - bytes.begin());
    *lightest += file.bytes;
  }
}

// Adds the file that was just written to a part of the manifest. Read back: that is what later readers get.
void add_file(json& part, const fs::path& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  require<base::FileError>(!error, "stat failed for '", path.string(), "': ", error.message());
  part["files"][path.filename().string()] = {{"bytes", bytes}, {"xxh3", base::to_hex(base::file_checksum(path))}};
}

void check_files(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, entry] : manifest.files) {
    std::error_code error;
    const auto bytes = fs::file_size(folder / name, error);
    require<CheckpointError>(!error, "its file ", name, " is missing or unreadable (", error.message(), ")");
    require<CheckpointError>(static_cast<int64_t>(bytes) == entry.bytes, "its file ", name, " is damaged: it has ",
                             bytes, " bytes, expected ", entry.bytes);
  }
}

void check_tensor(const std::string& name, const TensorEntry& entry, const base::SafetensorsFile& file) {
  require<CheckpointError>(file.contains(entry.name), "tensor '", name, "' is not in ", entry.file);
  const base::TensorView& view = file.at(entry.name);
  require<CheckpointError>(view.dtype == entry.dtype && view.shape == entry.shape, "tensor '", name, "' in ",
                           entry.file, " has another dtype or shape than the manifest says");
  require<CheckpointError>(base::to_hex(base::checksum(view.bytes)) == entry.checksum, "tensor '", name, "' in ",
                           entry.file, " is damaged: its checksum is wrong");
}

}  // namespace

CheckpointShare take_share(const States& states, const std::map<std::string, std::string>& texts, int rank,
                           int num_ranks, int64_t shard_bytes) {
  std::map<std::string, base::StateDict> saved;
  for (const auto& [name, state] : states) saved[name] = state->save_state();
  std::vector<PlannedFile> files = plan_files(saved, shard_bytes);
  assign_to_ranks(files, num_ranks);
  CheckpointShare share;
  for (const PlannedFile& file : files) {
    if (file.rank != rank) continue;
    auto& tensors = share.tensor_files[file.name];
    for (const auto& [state, tensor] : file.tensors) {
      tensors[name_in_file(state, tensor)] = std::move(saved.at(state).tensors.at(tensor));
    }
  }
  for (const auto& entry : texts) {
    const std::string& name = entry.first;
    const bool taken = name == kManifestFile || name == kValuesFile || name.ends_with(".safetensors");
    require(!taken && is_plain_name(name), "'", name, "' is no name for a text file of a checkpoint");
  }
  if (rank == 0) {
    share.text_files = texts;
    share.text_files[kValuesFile] = values_text(saved);
  }
  return share;
}

std::string write_share(const fs::path& folder, const CheckpointShare& share, const SaveObserver& observer,
                        const std::atomic<bool>* cancelled) {
  const auto at = [&](const std::string& point) {
    if (observer) observer(point);
    require<CheckpointError>(cancelled == nullptr || !*cancelled, "the save was cancelled");
  };
  std::error_code error;
  fs::create_directories(folder, error);
  require<base::FileError>(!error, "mkdir failed for '", folder.string(), "': ", error.message());
  at("folder");
  json part = {{"files", json::object()}, {"tensors", json::object()}};
  for (const auto& [file, tensors] : share.tensor_files) {
    at("writing:" + file);
    std::map<std::string, base::TensorView> views;
    for (const auto& [name, tensor] : tensors) {
      views[name] = {tensor.dtype, tensor.shape, tensor.bytes};
      const std::string full_name = file == kAdapterFile ? concat(kAdapterState, "/", name) : name;
      part["tensors"][full_name] = {{"file", file},
                                    {"name", name},
                                    {"dtype", tensor.dtype},
                                    {"shape", tensor.shape},
                                    {"xxh3", base::to_hex(base::checksum(tensor.bytes))}};
    }
    base::write_safetensors(folder / file, views);
    add_file(part, folder / file);
    at("written:" + file);
  }
  for (const auto& [file, text] : share.text_files) {
    at("writing:" + file);
    base::write_file_atomically(folder / file, text);
    add_file(part, folder / file);
    at("written:" + file);
  }
  base::sync_folder(folder);
  at("share");
  return part.dump();
}

void write_manifest(const fs::path& folder, const CheckpointInfo& info, const std::vector<std::string>& parts) {
  json object = {{"version", kVersion},
                 {"run_id", info.run_id},
                 {"step", info.step},
                 {"files", json::object()},
                 {"tensors", json::object()}};
  if (info.evaluation_loss && std::isfinite(*info.evaluation_loss)) object["evaluation_loss"] = *info.evaluation_loss;
  if (!info.evaluated_by.empty()) object["evaluated_by"] = base::as_utf8(info.evaluated_by);
  if (info.parent) object["parent"] = {{"step", info.parent->step}, {"checksum", info.parent->checksum}};
  for (const std::string& text : parts) {
    const json part = json::parse(text);
    object["files"].update(part.at("files"));
    object["tensors"].update(part.at("tensors"));
  }
  object["checksum"] = manifest_checksum(object);
  try {
    check_files(folder, parse_manifest(object));
  } catch (const CheckpointError& error) {
    throw CheckpointError(concat("'", folder.string(), "' does not hold what the ranks wrote: ", error.what(),
                                 "; is run.folder on a file system that all ranks share?"));
  }
  base::write_file_atomically(folder / kManifestFile, object.dump(1) + "\n");
}

Manifest read_manifest(const fs::path& folder) {
  try {
    require<CheckpointError>(fs::is_directory(folder), "it does not exist or is no folder");
    require<CheckpointError>(fs::exists(folder / kManifestFile), "it has no ", kManifestFile);
    return parse_manifest(base::read_json<CheckpointError>(folder / kManifestFile, kMaxJsonBytes));
  } catch (const std::exception& error) {  // errors of the file system included
    throw CheckpointError(concat("checkpoint '", folder.string(), "' can't be used: ", error.what()));
  }
}

bool looks_whole(const fs::path& folder) {
  try {
    check_files(folder, read_manifest(folder));
    return true;
  } catch (const CheckpointError&) {
    return false;
  }
}

Checkpoint::Checkpoint(fs::path folder) : folder_(std::move(folder)), manifest_(read_manifest(folder_)) {
  try {
    check_files(folder_, manifest_);
    for (const auto& [name, entry] : manifest_.files) {
      const std::string actual = base::to_hex(base::file_checksum(folder_ / name));
      require<CheckpointError>(actual == entry.checksum, "its file ", name, " is damaged: its checksum is ", actual,
                               ", expected ", entry.checksum);
      if (name.ends_with(".safetensors")) files_.emplace(name, base::SafetensorsFile(folder_ / name));
    }
    for (const auto& [name, entry] : manifest_.tensors) {
      const auto file = files_.find(entry.file);
      require<CheckpointError>(file != files_.end(), "tensor '", name, "' is in ", entry.file, ", no file of tensors");
      check_tensor(name, entry, file->second);
    }
    require<CheckpointError>(manifest_.files.contains(kValuesFile), "it has no ", kValuesFile);
    const json states = base::read_json<CheckpointError>(folder_ / kValuesFile, kMaxJsonBytes);
    for (const auto& [state, fields] : fields_of(states, kValuesFile).members()) {
      auto& target = values_[state];
      for (const auto& [name, value] : fields.value().items())
        target[name] = value_from_json(state + "/" + name, value);
    }
  } catch (const std::exception& error) {  // errors of the file system included
    throw CheckpointError(concat("checkpoint '", folder_.string(), "' can't be used: ", error.what()));
  }
}

std::vector<std::string> Checkpoint::state_names() const {
  std::vector<std::string> names;
  for (const auto& entry : values_) names.push_back(entry.first);
  return names;
}

base::StateDict Checkpoint::state(const std::string& name) const {
  const auto found = values_.find(name);
  require<CheckpointError>(found != values_.end(), "checkpoint '", folder_.string(), "' holds no state '", name, "'");
  base::StateDict dict;
  dict.values = found->second;
  const std::string prefix = name + "/";
  for (auto entry = manifest_.tensors.lower_bound(prefix);
       entry != manifest_.tensors.end() && entry->first.starts_with(prefix); ++entry) {
    const base::TensorView& view = files_.at(entry->second.file).at(entry->second.name);
    dict.tensors[entry->first.substr(prefix.size())] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
  }
  return dict;
}

void Checkpoint::load(const States& states) const {
  for (const auto& [name, state] : states) {
    const base::StateDict dict = this->state(name);
    try {
      state->load_state(dict);
    } catch (const CheckpointError& error) {
      throw CheckpointError(concat("checkpoint '", folder_.string(), "', state '", name, "': ", error.what()));
    }
  }
}

CheckpointInfo verify_checkpoint(const fs::path& folder) { return Checkpoint(folder).manifest().info; }

}  // namespace rosa::training
