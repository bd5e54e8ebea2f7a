#include "launch/suite_file.h"

#include <algorithm>

#include "base/error.h"
#include "launch/config_text.h"
#include "launch/yaml_config.h"

namespace rosa::launch {
namespace {

Describe describe_suite(training::SuiteConfig& config) {
  return [&config](base::FieldVisitor& visitor) { training::describe(visitor, config); };
}

}  // namespace

bool is_suite_file_name(const std::string& name) {
  const std::vector<std::string> names = training::suite_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return false;
  return std::filesystem::exists(name) || name.find_first_of("./") != std::string::npos;  // else a typo of a name
}

LoadedSuite load_suite(const std::string& name) {
  LoadedSuite loaded;
  if (!is_suite_file_name(name)) {
    loaded.config = training::built_in_suite(name);
    loaded.text = dump_config(describe_suite(loaded.config));
    return loaded;
  }
  const ConfigSources sources =
      fill_config(ConfigInput::from_file(name), describe_suite(loaded.config),
                  [&loaded](base::ConfigProblems& problems) { training::check(problems, loaded.config); });
  for (training::SuiteTask& task : loaded.config.tasks) {
    if (task.name.empty()) task.name = training::task_name(task.task);
  }
  loaded.text = dump_config(describe_suite(loaded.config), sources);
  return loaded;
}

bool is_suite_file(const std::filesystem::path& path) { return ConfigInput::from_file(path).has("tasks"); }

std::string suite_reference() {
  training::SuiteConfig config;
  training::SuiteTask task;
  const Describe describe_both = [&](base::FieldVisitor& visitor) {
    training::describe(visitor, config);
    visitor.section("tasks[]", task, "an entry of `tasks`");
  };
  return reference_document(describe_both, "Configuration of evaluation suites", "rosa config reference suite");
}

}  // namespace rosa::launch
