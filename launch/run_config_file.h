// The configuration of a run (training/config.h) from a YAML file and `--set` overrides, with the defaults of the
// recipe that it names. Paths of inputs become absolute, so that a run folder can be used from anywhere.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "training/stages.h"

namespace rosa::launch {

struct LoadedConfig {
  training::RunConfig config;      // of a run with stages, of the first one
  std::string text;                // the resolved configuration as YAML, with the source of each value as a comment
  base::ConfigOrigin origin = {};  // for messages about what the file or --set gave
  std::string length = {};         // where train.num_epochs was given: the steps that it means, which stand in config
  training::Stages stages = {};    // never empty
};

// What a configuration is wanted for, and so which rules it must keep: to be trained in one of two ways, in either, or,
// of a run that has been trained, for its model alone.
enum class ConfigUse { distill, pretrain, any_training, trained };

// Throws ConfigError with everything wrong (of a run with stages, of the first stage in which something is) that no
// model or data could make right; a file that can't be read is a ConfigError too. Opens the training file where
// train.num_epochs is given and the run is to be trained in a stated way; throws what that throws.
LoadedConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                             ConfigUse use);

// The keys of the recipe that a resolved configuration holds (a run's or checkpoint's config.yaml), as
// training::recipe_values writes them. Empty where it can't be read, by this version of the program.
std::map<std::string, std::string> recorded_recipe(const std::filesystem::path& path);

// docs/configuration.md
std::string run_config_reference();

}  // namespace rosa::launch
