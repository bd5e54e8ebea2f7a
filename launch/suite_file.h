// Evaluation suites (training/suite/suite_config.h) by name or from a YAML file.
#pragma once

#include <filesystem>
#include <string>

#include "training/suite/suite_config.h"

namespace rosa::launch {

struct LoadedSuite {
  training::SuiteConfig config;
  std::string text;  // as YAML that reads back; where it comes from a file, with the source of each value
};

// `name`: one of the program's own, or a YAML file. Throws ConfigError with everything wrong.
LoadedSuite load_suite(const std::string& name);

// Whether it is the name of a file, and not of one of the program's own suites.
bool is_suite_file_name(const std::string& name);

// Whether the file is one of a suite: it has the key `tasks`.
bool is_suite_file(const std::filesystem::path& path);

// docs/suite_configuration.md
std::string suite_reference();

}  // namespace rosa::launch
