#include "training/run_folder.h"

#include <cstdint>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "training/checkpoint_store.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "config.yaml";
constexpr int64_t kMaxConfigBytes = int64_t{1} << 24;

}  // namespace

void remove_files_of_killed_writers(const fs::path& run_folder) {
  const std::set<std::string> own = {kConfigFile, "run.json", "metrics.jsonl"};
  const auto any = [](const std::string&) { return true; };
  base::remove_temporaries(run_folder, [&](const std::string& name) { return own.contains(name); });
  base::remove_temporaries(run_folder / "consumed", any);
  base::remove_temporaries(run_folder / "model", any);
  for (const fs::path& aside : CheckpointStore(run_folder / "checkpoints").set_aside_folders()) {
    base::remove_temporaries(aside, any);
  }
}

void write_resolved_config(const fs::path& run_folder, const std::string& text) {
  const fs::path path = run_folder / kConfigFile;
  const bool is_new = !fs::exists(path);
  try {
    if (is_new || base::read_file(path, kMaxConfigBytes) != text) base::write_file_atomically(path, text);
  } catch (const base::FileError& error) {
    if (is_new) throw;
    base::log_warning(base::concat("config.yaml stays as it was: ", error.what()));
  }
}

void make_resolved_config_anew(const fs::path& run_folder, const std::string& text) {
  std::error_code ignored;
  if (fs::exists(run_folder / kConfigFile, ignored)) return;
  try {
    base::write_file_atomically(run_folder / kConfigFile, text);
  } catch (const base::FileError& error) {
    base::log_warning(base::concat("config.yaml was removed and can't be made anew: ", error.what()));
  }
}

}  // namespace rosa::training
