// `rosa config check|dump|reference`: looks at configurations without running them.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "base/printable.h"
#include "launch/command.h"
#include "launch/config_text.h"
#include "launch/exit_code.h"
#include "launch/experiment_config_file.h"
#include "launch/failure.h"
#include "launch/run_config_file.h"
#include "launch/suite_file.h"
#include "training/idle_keys.h"
#include "training/metric_fields.h"

namespace rosa::launch {
namespace {

struct ConfigOptions {
  std::vector<std::string> files;
  std::vector<std::string> overrides;
};

// The resolved configuration of a run, an experiment or a suite; `notes`, where they are asked for, is what is right
// and yet probably not meant.
std::string load_text(const std::string& file, const std::vector<std::string>& overrides, ConfigUse use,
                      std::vector<std::string>* notes = nullptr) {
  if (is_experiment_config(file)) return load_experiment_config(file, overrides).text;
  if (is_suite_file(file)) {
    base::require<base::ConfigError>(overrides.empty(), "'", file,
                                     "' is an evaluation suite, and --set can't change one");
    return load_suite(file).text;
  }
  const LoadedConfig loaded = load_run_config(file, overrides, use);
  if (notes != nullptr) {
    for (const training::IdleKey& idle : training::idle_keys(loaded.stages)) notes->push_back(idle_key_text(idle));
  }
  return loaded.text;
}

int check(const ConfigOptions& options) {
  int status = kExitOk;
  for (const std::string& file : options.files) {
    try {
      std::vector<std::string> notes;
      load_text(file, options.overrides, ConfigUse::any_training, &notes);
      std::cout << base::printable(file) << ": good" << std::endl;
      for (const std::string& note : notes) std::cout << "  but " << base::printable(note) << std::endl;
    } catch (const base::ConfigError& error) {
      // One wrong file does not hide what is wrong with the next.
      std::cerr << message_of(error) << std::endl;
      status = kExitConfiguration;
    }
  }
  return status;
}

int dump(const ConfigOptions& options) {
  std::cout << load_text(options.files.front(), options.overrides, ConfigUse::trained);
  return kExitOk;
}

int reference(const std::string& of) {
  std::cout << (of == "metrics"      ? training::metrics_reference()
                : of == "experiment" ? experiment_config_reference()
                : of == "suite"      ? suite_reference()
                                     : run_config_reference());
  return kExitOk;
}

}  // namespace

std::vector<std::string> separate_overrides(const std::vector<std::string>& arguments) {
  const auto is_assignment = [](const std::string& text) {
    const std::size_t end = text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return end != std::string::npos && end > 0 && text[end] == '=' && text.front() != '-';
  };
  std::vector<std::string> result;
  bool after_set = false;  // the value of a --set was the last
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const bool is_value = i > 0 && arguments[i - 1] == "--set";
    if (after_set && is_assignment(arguments[i])) result.emplace_back("--set");
    result.push_back(arguments[i]);
    after_set = is_value || (after_set && is_assignment(arguments[i]));
    if (arguments[i] == "--") {
      result.insert(result.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
  }
  return result;
}

void add_override_option(CLI::App& command, std::vector<std::string>& overrides) {
  command
      .add_option("--set", overrides,
                  "in place of the file's, e.g. --set train.num_steps=10 run.seed=2; ~ and $NAME in paths are expanded")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
}

void add_config_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("config", "Checks and explains configurations.");
  command->require_subcommand(1);
  const auto options = std::make_shared<ConfigOptions>();

  CLI::App* check_command = command->add_subcommand("check", "Reports everything wrong with YAML files at once.");
  check_command->add_option("FILE", options->files, "YAML configurations")->required();
  add_override_option(*check_command, options->overrides);
  check_command->footer(
      "Exit code 2 where one is wrong. Experiments and evaluation suites are checked too.\n"
      "  rosa config check run.yaml\n"
      "  rosa config check run.yaml --set train.num_steps=10");
  check_command->callback([&action, options] { action = [options] { return check(*options); }; });

  CLI::App* dump_command =
      command->add_subcommand("dump", "Writes the resolved configuration with the source of each value.");
  dump_command->add_option("FILE", options->files, "YAML configuration")->required()->expected(1);
  add_override_option(*dump_command, options->overrides);
  dump_command->footer("What it writes is a configuration again.\n  rosa config dump run.yaml --set run.seed=1");
  dump_command->callback([&action, options] { action = [options] { return dump(*options); }; });

  CLI::App* reference_command = command->add_subcommand(
      "reference",
      "Writes the reference of all keys, or of all metrics (docs/configuration.md, docs/experiment_configuration.md, "
      "docs/suite_configuration.md, docs/metrics.md).");
  const auto of = std::make_shared<std::string>("run");
  reference_command->add_option("OF", *of, "what to list")
      ->check(CLI::IsMember({"run", "experiment", "suite", "metrics"}))
      ->capture_default_str();
  reference_command->footer(
      "Examples:\n  rosa config reference\n  rosa config reference experiment\n  rosa config reference suite\n  rosa "
      "config reference metrics");
  reference_command->callback([&action, of] { action = [of] { return reference(*of); }; });
}

}  // namespace rosa::launch
