#include "training/lineage.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAncestorFile = "common_ancestor.json";
constexpr int64_t kMaxAncestorBytes = int64_t{1} << 16;

std::optional<Manifest> readable_manifest(const fs::path& folder) {
  try {
    return read_manifest(folder);
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

std::optional<std::string> recorded_ancestor(const fs::path& folder) {
  const fs::path path = folder / kAncestorFile;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  try {
    const auto text = base::read_json<base::CheckpointError>(path, kMaxAncestorBytes);
    return base::JsonFields(text, path.string(), base::throw_json_error<base::CheckpointError>)
        .required_text("checksum");
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

using Ancestors = std::multimap<std::string, std::string>;  // checksums of manifests: of a checkpoint, of an older one

void add_parent(Ancestors& ancestors, const Manifest& manifest) {
  if (manifest.info.parent) ancestors.emplace(manifest.checksum, manifest.info.parent->checksum);
}

void add_folder(Ancestors& ancestors, const fs::path& folder) {
  const std::optional<std::string> common = recorded_ancestor(folder);
  for (const fs::path& path : CheckpointStore(folder).list()) {
    const auto manifest = readable_manifest(path);
    if (!manifest) continue;
    add_parent(ancestors, *manifest);
    if (common) ancestors.emplace(manifest->checksum, *common);
  }
}

}  // namespace

std::optional<fs::path> set_aside_folder_of(const CheckpointStore& store, const fs::path& checkpoint) {
  for (const fs::path& folder : store.set_aside_folders()) {
    if (CheckpointStore(folder).holds(checkpoint)) return folder;
  }
  return std::nullopt;
}

void record_common_ancestor(const CheckpointStore& store, int64_t step, const fs::path& folder) {
  if (step < 0) return;
  const auto manifest = readable_manifest(store.folder() / CheckpointStore::folder_name(step));
  if (!manifest) return;
  const nlohmann::json text = {{"step", step}, {"checksum", manifest->checksum}};
  base::write_file_atomically(folder / kAncestorFile, text.dump() + "\n");
}

int64_t newest_common_step(const CheckpointStore& store, const Checkpoint& checkpoint) {
  std::map<std::string, int64_t> own;
  Ancestors ancestors;
  for (const fs::path& path : store.list()) {
    const auto manifest = readable_manifest(path);
    if (manifest) own.emplace(manifest->checksum, CheckpointStore::step_of(path));
  }
  for (const fs::path& folder : store.set_aside_folders()) add_folder(ancestors, folder);
  const fs::path beside = checkpoint.folder().parent_path();
  if (!set_aside_folder_of(store, checkpoint.folder())) add_folder(ancestors, beside);
  add_parent(ancestors, checkpoint.manifest());

  int64_t newest = -1;
  std::set<std::string> seen;
  std::vector<std::string> to_see = {checkpoint.manifest().checksum};
  while (!to_see.empty()) {
    const std::string checksum = std::move(to_see.back());
    to_see.pop_back();
    if (!seen.insert(checksum).second) continue;
    if (const auto found = own.find(checksum); found != own.end()) newest = std::max(newest, found->second);
    const auto [begin, end] = ancestors.equal_range(checksum);
    for (auto ancestor = begin; ancestor != end; ++ancestor) to_see.push_back(ancestor->second);
  }
  return newest;
}

}  // namespace rosa::training
