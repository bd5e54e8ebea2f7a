#include "launch/run_config_file.h"

#include "base/error.h"
#include "launch/config_text.h"
#include "launch/yaml_config.h"
#include "training/run_identity.h"

namespace rosa::launch {
namespace {

Describe describe_run(training::RunConfig& config) {
  return [&config](base::FieldVisitor& visitor) { training::describe(visitor, config); };
}

void make_paths_absolute(training::RunConfig& config) {
  for (std::string* path :
       {&config.model.folder, &config.data.train_path, &config.data.held_out_path, &config.train.init_from}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
}

}  // namespace

LoadedConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  ConfigInput input = ConfigInput::from_file(path);
  for (const std::string& assignment : overrides) input.set(assignment);

  // The recipe decides the defaults of everything else, so the file is read twice.
  training::RunConfig plain;
  const std::string plain_recipe = plain.recipe;
  ConfigSources sources = load_config(input, plain);
  LoadedConfig loaded;
  loaded.config = plain;
  if (plain.recipe != plain_recipe) {
    loaded.config = training::recipe_defaults(plain.recipe);
    training::RunConfig defaults;
    const auto plain_values = flatten_config(describe_run(defaults));
    const auto recipe_values = flatten_config(describe_run(loaded.config));
    sources = load_config(input, loaded.config);
    for (auto& [key, source] : sources) {
      if (source == "default" && recipe_values.at(key) != plain_values.at(key)) source = "recipe " + plain.recipe;
    }
  }
  training::check_agreement(loaded.config);
  make_paths_absolute(loaded.config);
  loaded.text = dump_config(describe_run(loaded.config), sources);
  return loaded;
}

std::map<std::string, std::string> recorded_recipe(const std::filesystem::path& path) {
  try {
    training::RunConfig config;
    const ConfigSources sources = load_config(ConfigInput::from_file(path), config);
    auto values = training::recipe_values(config);
    std::erase_if(values, [&](const auto& entry) { return sources.at(entry.first) == "default"; });
    return values;
  } catch (const base::ConfigError&) {
    return {};
  }
}

std::string run_config_reference() {
  training::RunConfig config;
  return reference_document(describe_run(config), "Configuration", "rosa config reference");
}

}  // namespace rosa::launch
