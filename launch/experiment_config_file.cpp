#include "launch/experiment_config_file.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/printable.h"
#include "launch/config_text.h"
#include "launch/yaml_config.h"
#include "launch/yaml_scalar.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa::launch {
namespace {

using training::ExperimentArm;
using training::ExperimentConfig;

Describe describe_experiment(ExperimentConfig& config) {
  return [&config](base::FieldVisitor& visitor) { training::describe(visitor, config); };
}

// "disarm scope=joint": the section of the task's estimators with these changes. Throws ConfigError.
ExperimentArm make_arm(const ExperimentConfig& config, const std::string& text) {
  std::istringstream words(text);
  ExperimentArm arm{.label = text, .estimator = {}, .gate = config.gate, .adapter = config.adapter};
  words >> arm.estimator;
  base::require<base::ConfigError>(!arm.estimator.empty(), "an entry is empty; expected a name, as in 'leg'");
  const bool is_gate = training::is_gate_task(config.experiment.task);
  const std::vector<std::string> names = is_gate ? gate_estimator_names() : qkv_estimator_names();
  base::require<base::ConfigError>(std::find(names.begin(), names.end(), arm.estimator) != names.end(), "'",
                                   base::excerpt(arm.estimator), "' is no estimator of this task; expected ",
                                   expected_choice(names));
  ConfigInput input = ConfigInput::from_text("{}", "'" + text + "'");
  for (std::string word; words >> word;) input.set(word);
  if (is_gate) {
    arm.gate.name = arm.estimator;
    load_config(input, arm.gate);
  } else {
    arm.adapter.estimator = arm.estimator;
    load_config(input, arm.adapter);
  }
  return arm;
}

// The arms that can be made; what is wrong with the others is added to `problems`.
std::vector<ExperimentArm> make_arms(const ExperimentConfig& config, base::ConfigProblems& problems) {
  std::vector<ExperimentArm> arms;
  for (const std::string& text : config.experiment.estimators) {
    try {
      arms.push_back(make_arm(config, text));
    } catch (const base::ConfigError& error) {
      problems.add({"experiment.estimators", "experiment.task"}, error.what());
    }
  }
  return arms;
}

}  // namespace

bool is_experiment_config(const std::filesystem::path& path) { return ConfigInput::from_file(path).has("experiment"); }

LoadedExperiment load_experiment_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  ConfigInput input = ConfigInput::from_file(path);
  for (const std::string& assignment : overrides) input.set(assignment);
  LoadedExperiment loaded;
  const ConfigSources sources =
      fill_config(input, describe_experiment(loaded.config), [&loaded](base::ConfigProblems& problems) {
        loaded.arms = make_arms(loaded.config, problems);
        check(problems, loaded.config, loaded.arms);
      });
  loaded.text = dump_config(describe_experiment(loaded.config), sources);
  loaded.settings = flatten_config(describe_experiment(loaded.config));
  return loaded;
}

std::string experiment_config_reference() {
  ExperimentConfig config;
  return reference_document(describe_experiment(config), "Configuration of experiments",
                            "rosa config reference experiment");
}

}  // namespace rosa::launch
