#include "launch/run_config_file.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "launch/config_text.h"
#include "launch/suite_file.h"
#include "launch/yaml_config.h"
#include "launch/yaml_scalar.h"
#include "training/run_identity.h"
#include "training/run_length.h"
#include "training/run_rules.h"
#include "training/suite/suite.h"

namespace rosa::launch {
namespace {

Describe describe_run(training::RunConfig& config) {
  return [&config](base::FieldVisitor& visitor) { training::describe(visitor, config); };
}

void check_suite(base::ConfigProblems& problems, const training::RunConfig& config) {
  if (config.evaluation.suite.empty()) return;
  try {
    const training::SuiteConfig suite = load_suite(config.evaluation.suite).config;
    for (const training::SuiteTask& task : suite.tasks) lengths_of(task, config.data.sequence_length);
    const std::vector<std::string> names = training::suite_figure_names(suite);
    const std::string& best_by = config.checkpoint.best_by;
    const bool is_known = best_by.empty() || std::find(names.begin(), names.end(), best_by) != names.end();
    problems.require(is_known, {"checkpoint.best_by", "evaluation.suite"}, "the suite has no figure '", best_by,
                     "'; expected ", expected_choice(names));
    const std::string& figure = config.train.early_stop.figure;
    const bool is_figure = figure.empty() || std::find(names.begin(), names.end(), figure) != names.end();
    problems.require(is_figure, {"train.early_stop.figure", "evaluation.suite"}, "the suite has no figure '", figure,
                     "'; expected ", expected_choice(names));
  } catch (const base::ConfigError& error) {
    problems.add({"evaluation.suite"}, base::one_line(error.what()));
  }
}

void check(base::ConfigProblems& problems, const training::RunConfig& config, ConfigUse use) {
  if (use == ConfigUse::trained) return check_trained(problems, config);
  check_suite(problems, config);
  check(problems, config);
  if (use == ConfigUse::any_training) check_data_paths(problems, config);
  if (use == ConfigUse::distill) check_objective(problems, config, training::Objective::distill);
  if (use == ConfigUse::pretrain) check_objective(problems, config, training::Objective::pretrain);
}

// The recipe that a file means. One that gives adapter.position_bias as true or false, as runs have kept it, was
// written when rosa_soft was what rosa_soft_20251121 is now.
std::string recipe_of(const ConfigInput& input) {
  const std::string recipe = input.text_of("recipe"), bias = input.text_of("adapter.position_bias");
  return recipe == "rosa_soft" && (bias == "true" || bias == "false") ? "rosa_soft_20251121" : recipe;
}

void make_paths_absolute(training::RunConfig& config) {
  for (std::string* path :
       {&config.model.folder, &config.data.train_path, &config.data.held_out_path, &config.train.init_from}) {
    if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
  }
  if (!config.evaluation.suite.empty() && is_suite_file_name(config.evaluation.suite)) {
    config.evaluation.suite = std::filesystem::absolute(config.evaluation.suite).lexically_normal().string();
  }
  for (training::DataSourceEntry& entry : config.data.sources) {
    for (std::string* path : {&entry.path, &entry.held_out_path}) {
      if (!path->empty()) *path = std::filesystem::absolute(*path).lexically_normal().string();
    }
  }
}

// One configuration: a run's, or what it is in one of its stages.
struct OneConfig {
  training::RunConfig config;
  ConfigSources sources;
  std::string length;
};

OneConfig load_one(const ConfigInput& input, ConfigUse use, bool is_whole) {
  OneConfig loaded;
  // The recipe decides the defaults of everything else. A name that is none is reported with the rest.
  const std::string recipe = recipe_of(input);
  const bool is_known =
      std::find(std::begin(training::kRecipes), std::end(training::kRecipes), recipe) != std::end(training::kRecipes);
  if (is_known) loaded.config = training::recipe_defaults(recipe);
  if (use == ConfigUse::trained) loaded.config = training::earlier_defaults(loaded.config);
  training::RunConfig plain;
  const auto plain_values = flatten_config(describe_run(plain));
  const auto recipe_values = flatten_config(describe_run(loaded.config));
  // The default of train.num_steps gives way to train.num_epochs; what the input says of it does not.
  constexpr int64_t kNotGiven = -1;
  int64_t& num_steps = loaded.config.train.num_steps;
  const int64_t default_steps = std::exchange(num_steps, kNotGiven);
  loaded.sources = fill_config(input, describe_run(loaded.config), [&](base::ConfigProblems& problems) {
    if (num_steps == kNotGiven) num_steps = loaded.config.train.num_epochs > 0 ? 0 : default_steps;
    if (is_whole) check(problems, loaded.config, use);
  });
  if (is_known) loaded.config.recipe = recipe;
  for (auto& [key, source] : loaded.sources) {
    const bool is_of_recipe =
        source == "default" && plain_values.contains(key) && recipe_values.at(key) != plain_values.at(key);
    if (is_of_recipe) source = "recipe " + recipe;
  }
  make_paths_absolute(loaded.config);
  const bool is_to_be_trained = use == ConfigUse::distill || use == ConfigUse::pretrain;
  if (is_whole && is_to_be_trained && loaded.config.train.num_epochs > 0) {
    const training::RunLength length = training::length_of_epochs(loaded.config);
    loaded.length = length.text(loaded.config.train.num_epochs);
    training::set_num_steps(loaded.config, length);
  }
  return loaded;
}

// Where the epochs went, for whoever reads the resolved configuration. Messages name the lines of the file.
ConfigSources sources_to_show(const OneConfig& loaded) {
  ConfigSources sources = loaded.sources;
  if (loaded.length.empty()) return sources;
  sources["train.num_steps"] = loaded.length;
  sources["train.num_epochs"] = "now in train.num_steps";
  return sources;
}

// The stages of a run whose own configuration is `run`, and their text.
training::Stages load_stages(const std::vector<ConfigVariant>& variants, OneConfig& run, ConfigUse use,
                             std::string& text) {
  base::require<base::ConfigError>(use != ConfigUse::pretrain,
                                   "stages: rosa pretrain has none; they are of rosa train");
  training::Stages stages;
  std::vector<OneConfig> loaded;
  for (const ConfigVariant& variant : variants) {
    try {
      // First of all: a stage is not told what the rules say of a key that it may not have.
      const OneConfig unchecked = load_one(variant.input, use, /*is_whole=*/false);
      check_keys_of_stage({variant.name, unchecked.config, {variant.input.name(), unchecked.sources}}, run.config);
      loaded.push_back(load_one(variant.input, use, /*is_whole=*/true));
    } catch (const base::ConfigError& error) {
      throw base::ConfigError(base::concat("stage '", variant.name, "': ", error.what()));
    }
    const OneConfig& one = loaded.back();
    stages.push_back({variant.name, one.config, {variant.input.name(), one.sources}});
  }
  // What stands above the stages is the number of steps of all of them, for whoever reads it.
  run.config.train.num_steps = num_steps(stages);
  run.config.train.num_epochs = 0;
  run.sources["train.num_steps"] = "of all stages";
  const auto common = flatten_config(describe_run(run.config));
  text = "stages:\n";
  for (std::size_t i = 0; i < stages.size(); ++i) {
    text += base::concat("  - name: ", stages[i].name, "  # ", i + 1, " of ", stages.size(), "\n",
                         dump_changes(describe_run(loaded[i].config), common, sources_to_show(loaded[i]), 2));
  }
  note_trained_base(stages);
  return stages;
}

}  // namespace

LoadedConfig load_run_config(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                             ConfigUse use) {
  ConfigInput input = ConfigInput::from_file(path);
  for (const std::string& assignment : overrides) input.set(assignment);
  const std::vector<ConfigVariant> variants =
      input.take_variants("stages", {{"num_steps", "num_epochs"}, {"train_path", "sources"}});

  // Of a run with stages the rules are kept by each of these: the run alone may lack what all of them give.
  OneConfig run = load_one(input, use, /*is_whole=*/variants.empty());
  LoadedConfig loaded;
  loaded.length = run.length;
  loaded.stages = variants.empty() ? training::Stages{{"", run.config, {input.name(), run.sources}}}
                                   : load_stages(variants, run, use, loaded.text);
  loaded.text = dump_config(describe_run(run.config), sources_to_show(run)) + loaded.text;
  loaded.config = loaded.stages.front().config;
  loaded.origin = loaded.stages.front().origin;
  return loaded;
}

std::map<std::string, std::string> recorded_recipe(const std::filesystem::path& path) {
  try {
    training::RunConfig config = training::earlier_defaults({});
    const auto earlier = training::recipe_values(config), now = training::recipe_values({});
    ConfigInput input = ConfigInput::from_file(path);
    input.take_variants("stages");
    const ConfigSources sources = load_config(input, config);
    auto values = training::recipe_values(config);
    // What is not written there is not known, but where the key came with another default than what was before it.
    std::erase_if(values, [&](const auto& entry) {
      return sources.at(entry.first) == "default" && earlier.at(entry.first) == now.at(entry.first);
    });
    return values;
  } catch (const base::ConfigError&) {
    return {};
  }
}

std::string run_config_reference() {
  training::RunConfig config;
  return reference_document(describe_run(config), "Configuration", "rosa config reference") +
         "\n## stages\n\nA list, empty by default: the parts of a run in order (docs/training.md). Each entry has a "
         "`name` "
         "and sections\nas above; what it gives holds in that stage in place of the run's own. A stage may override " +
         training::keys_of_stages() +
         ".\n`--set section.key=value` holds in all stages, `--set stages.NAME.section.key=value` in one.\n";
}

}  // namespace rosa::launch
