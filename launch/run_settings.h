// The settings of a run as its folder keeps them (config.yaml), as plain texts: for showing and comparing runs whose
// keys this program need not know.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace rosa::launch {

struct RunSetting {
  std::string key;     // in full: "adapter.value_bits"
  std::string value;   // as YAML writes it; a list as [a, b]
  std::string source;  // the comment behind it: "default", "--set", "FILE:LINE"; may be empty
};

// In the order of the file; empty where there is none. Throws ConfigError, naming file and line, where it is no YAML,
// and FileError.
std::vector<RunSetting> read_run_settings(const std::filesystem::path& run_folder);

}  // namespace rosa::launch
