// The configuration of an experiment (training/experiment/experiment_config.h) from a YAML file and `--set` overrides,
// and the arms that its list of estimators names.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "training/experiment/experiment_config.h"

namespace rosa::launch {

struct LoadedExperiment {
  training::ExperimentConfig config;
  std::vector<training::ExperimentArm> arms;
  std::map<std::string, std::string> settings;  // every key with its value
  std::string text;  // the resolved configuration as YAML, with the source of each value as a comment
};

// Throws ConfigError with everything wrong; a file that can't be read is a ConfigError too.
LoadedExperiment load_experiment_config(const std::filesystem::path& path, const std::vector<std::string>& overrides);

// Whether the file is one of an experiment, not of a run: it has the section `experiment`.
bool is_experiment_config(const std::filesystem::path& path);

// docs/experiment_configuration.md
std::string experiment_config_reference();

}  // namespace rosa::launch
