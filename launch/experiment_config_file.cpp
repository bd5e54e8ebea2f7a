#include "launch/experiment_config_file.h"

#include <sstream>

#include "base/error.h"
#include "launch/config_text.h"
#include "launch/yaml_config.h"

namespace rosa::launch {
namespace {

using training::ExperimentArm;
using training::ExperimentConfig;

Describe describe_experiment(ExperimentConfig& config) {
  return [&config](base::FieldVisitor& visitor) { training::describe(visitor, config); };
}

// "disarm scope=joint": the section of the task's estimators with these changes.
ExperimentArm make_arm(const ExperimentConfig& config, const std::string& text) {
  std::istringstream words(text);
  ExperimentArm arm{.label = text, .estimator = {}, .gate = config.gate, .adapter = config.adapter};
  words >> arm.estimator;
  base::require<base::ConfigError>(!arm.estimator.empty(),
                                   "experiment.estimators: an entry is empty; expected a name, as in 'leg'");
  ConfigInput input = ConfigInput::from_text("{}", "experiment.estimators: '" + text + "'");
  for (std::string word; words >> word;) input.set(word);
  if (training::is_gate_task(config.experiment.task)) {
    arm.gate.name = arm.estimator;
    load_config(input, arm.gate);
    make_gate_estimator(arm.gate);  // throws what is wrong with it
  } else {
    arm.adapter.estimator = arm.estimator;
    load_config(input, arm.adapter);
  }
  return arm;
}

}  // namespace

bool is_experiment_config(const std::filesystem::path& path) { return ConfigInput::from_file(path).has("experiment"); }

LoadedExperiment load_experiment_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  ConfigInput input = ConfigInput::from_file(path);
  for (const std::string& assignment : overrides) input.set(assignment);
  LoadedExperiment loaded;
  const ConfigSources sources = load_config(input, loaded.config);
  loaded.text = dump_config(describe_experiment(loaded.config), sources);
  loaded.settings = flatten_config(describe_experiment(loaded.config));
  for (const std::string& text : loaded.config.experiment.estimators) {
    loaded.arms.push_back(make_arm(loaded.config, text));
  }
  training::check(loaded.config, loaded.arms);
  return loaded;
}

std::string experiment_config_reference() {
  ExperimentConfig config;
  return reference_document(describe_experiment(config), "Configuration of experiments",
                            "rosa config reference experiment");
}

}  // namespace rosa::launch
