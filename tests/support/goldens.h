// Where the golden files are, and their metadata (each value is JSON). ROSA_GOLDENS names another folder of the same
// form: tests take shapes, cases and settings from the files, never from memory.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/safetensors.h"

namespace rosa::testing {

inline std::filesystem::path goldens_folder() {
  const char* folder = std::getenv("ROSA_GOLDENS");
  if (folder != nullptr && *folder != '\0') return folder;
  return std::filesystem::path(ROSA_TEST_DATA) / "goldens";
}

// One metadata value, parsed. Throws DataError if it is not there.
inline nlohmann::json golden_metadata(const base::SafetensorsFile& file, const std::string& key) {
  auto found = file.metadata().find(key);
  base::require<base::DataError>(found != file.metadata().end(), "'", file.path().string(), "' has no metadata '", key,
                                 "'");
  return nlohmann::json::parse(found->second);
}

// All metadata as one JSON object.
inline nlohmann::json golden_metadata(const base::SafetensorsFile& file) {
  nlohmann::json all = nlohmann::json::object();
  for (const auto& [key, value] : file.metadata()) all[key] = nlohmann::json::parse(value);
  return all;
}

// The cases of a file, in order: the metadata keys that tensors start with ("case3" of "case3.query").
inline std::vector<std::string> golden_cases(const base::SafetensorsFile& file) {
  std::vector<std::string> cases;
  for (const auto& [key, value] : file.metadata()) {
    auto first = file.tensors().lower_bound(key + ".");
    if (first != file.tensors().end() && first->first.starts_with(key + ".")) cases.push_back(key);
  }
  return cases;
}

}  // namespace rosa::testing
