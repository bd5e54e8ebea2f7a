#include "launch/checkpoint_path.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "training/checkpoint_store.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using training::CheckpointStore;

// A run folder's own store, or the store that the folder is.
CheckpointStore store_of(const fs::path& folder) {
  return CheckpointStore(fs::is_directory(folder / "checkpoints") ? folder / "checkpoints" : folder);
}

bool is_number(const std::string& name) {
  constexpr size_t kMaxDigits = 18;
  return !name.empty() && name.size() <= kMaxDigits &&
         std::all_of(name.begin(), name.end(), [](char digit) { return digit >= '0' && digit <= '9'; });
}

}  // namespace

bool is_checkpoint(const fs::path& path) {
  return fs::exists(path / training::kManifestFile) || path.filename().string().starts_with("step_");
}

fs::path checkpoint_path(const fs::path& run_folder, const std::string& name) {
  std::error_code error;  // a name may be too long for a path
  if (fs::exists(name, error)) return name;
  const CheckpointStore store = store_of(run_folder);
  // "set_aside/after_step_00000020/step_00000030", as `rosa checkpoint list` shows it.
  if (!name.empty() && fs::exists(store.folder() / name / training::kManifestFile, error)) return store.folder() / name;
  const std::string wanted = is_number(name) ? CheckpointStore::folder_name(std::atoll(name.c_str())) : name;
  std::string known;
  for (const fs::path& path : store.list()) {
    const std::string there = path.filename().string();
    if (there == wanted) return path;
    known += (known.empty() ? "" : ", ") + there;
  }
  throw base::CheckpointError(base::concat("there is no checkpoint '", name, "', neither as a path nor in '",
                                           store.folder().string(), "', which holds ",
                                           known.empty() ? std::string("none") : known));
}

std::vector<fs::path> checkpoint_paths(const std::vector<std::string>& arguments) {
  std::vector<fs::path> found;
  fs::path folder = ".";   // of a run: names behind it are looked for there
  bool is_to_add = false;  // all of its checkpoints, unless names follow
  const auto add_all = [&] {
    if (!is_to_add) return;
    const CheckpointStore store = store_of(folder);
    const std::vector<fs::path> all = store.list();
    base::require<base::CheckpointError>(!all.empty(), "'", folder.string(), "' holds no checkpoints");
    found.insert(found.end(), all.begin(), all.end());
  };
  for (const std::string& argument : arguments) {
    const fs::path path = checkpoint_path(folder, argument);
    if (is_checkpoint(path)) {
      if (path != fs::path(argument)) is_to_add = false;
      found.push_back(path);
      continue;
    }
    base::require<base::CheckpointError>(fs::is_directory(path), "'", argument,
                                         "' is neither a checkpoint nor a folder");
    add_all();
    folder = path;
    is_to_add = true;
  }
  add_all();
  return found;
}

}  // namespace rosa::launch
