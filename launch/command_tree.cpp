#include "launch/command_tree.h"

#include <CLI/CLI.hpp>

#include "launch/config_text.h"
#include "training/config.h"
#include "training/experiment/experiment_config.h"

namespace rosa::launch {

std::vector<const CLI::App*> subcommands(const CLI::App& command) {
  return command.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
}

std::vector<std::string> names_of(const std::vector<const CLI::App*>& commands) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return names;
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

namespace {

void collect(const CLI::App& command, const std::string& path, std::map<std::string, const CLI::App*>& all) {
  for (const CLI::App* sub : subcommands(command)) {
    const std::string full = path.empty() ? sub->get_name() : path + " " + sub->get_name();
    all[full] = sub;
    collect(*sub, full, all);
  }
}

}  // namespace

std::map<std::string, const CLI::App*> all_commands(const CLI::App& program) {
  std::map<std::string, const CLI::App*> all;
  collect(program, "", all);
  return all;
}

std::vector<const CLI::Option*> options_of(const CLI::App& command) {
  std::vector<const CLI::Option*> options = command.get_options();
  for (const CLI::App* group : command.get_subcommands([](const CLI::App* sub) { return sub->get_name().empty(); })) {
    for (const CLI::Option* option : group->get_options()) options.push_back(option);
  }
  return options;
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options_of(command)) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

bool has_option(const CLI::App& command, const std::string& name) {
  return command.get_option_no_throw(name) != nullptr;
}

std::vector<std::string> keys_of(const std::string& path) {
  std::vector<std::string> keys;
  training::RunConfig run;
  training::ExperimentConfig experiment;
  const auto values = path == "experiment"
                          ? flatten_config([&](base::FieldVisitor& visitor) { describe(visitor, experiment); })
                          : flatten_config([&](base::FieldVisitor& visitor) { describe(visitor, run); });
  for (const auto& [key, value] : values) keys.push_back(key);
  return keys;
}

}  // namespace rosa::launch
