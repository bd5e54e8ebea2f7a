// `rosa train` and `rosa pretrain`: a run from a configuration, with progress, metrics and stop on request.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "launch/accept_changed.h"
#include "launch/command.h"
#include "launch/dry_run.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/trace_recording.h"
#include "launch/training_session.h"

namespace rosa::launch {
namespace {

struct TrainOptions {
  std::string file, accept_changed;
  std::vector<std::string> overrides;
  bool dry_run = false;
  TraceOptions trace;
};

// What is read must not be what is written.
void check_files(TraceOptions& trace, const std::string& file, const training::RunConfig& config,
                 training::Objective objective) {
  check_run_folder(config.run.folder);
  trace.inputs = {file, config.data.train_path, config.data.held_out_path, config.train.init_from};
  trace.folders = {config.run.folder, config.model.folder};
  std::error_code ignored;
  const bool exports_over_input =
      objective == training::Objective::pretrain && !config.model.from_scratch &&
      std::filesystem::equivalent(config.model.folder, std::filesystem::path(config.run.folder) / "model", ignored);
  base::require<base::ConfigError>(!exports_over_input, "model.folder is the folder in which pretraining in ",
                                   config.run.folder, " leaves its own model; choose another run.folder");
}

int run_training(TrainOptions& options, training::Objective objective) {
  // Before MPI starts, so that a wrong configuration ends the job with its own message alone.
  const std::set<std::string> accepted = parse_accepted(options.accept_changed);
  const ConfigUse use = objective == training::Objective::distill ? ConfigUse::distill : ConfigUse::pretrain;
  const LoadedConfig loaded = load_run_config(options.file, options.overrides, use);
  check_files(options.trace, options.file, loaded.config, objective);
  Session session(loaded.config.failures.watchdog);
  if (options.dry_run) {
    dry_run(session, loaded, objective, accepted);
    return kExitOk;
  }
  session.lock_folder(loaded.config.run.folder);
  TraceRecording trace(options.trace, loaded.config.run.folder, session.communicator());
  const training::RunOutcome outcome = train_in_session(session, loaded, objective, {.accept_changed = accepted});
  trace.finish();
  return outcome == training::RunOutcome::finished ? kExitOk : kExitStopped;
}

void add_command(CLI::App& program, Action& action, const std::string& name, const std::string& what,
                 training::Objective objective) {
  CLI::App* command = program.add_subcommand(name, what);
  const auto options = std::make_shared<TrainOptions>();
  command->add_option("CONFIG", options->file, "YAML configuration (docs/configuration.md)")->required();
  add_override_option(*command, options->overrides);
  command->add_flag("--dry-run", options->dry_run,
                    "try everything out but train: ranks, collectives, model, data, a checkpoint; report and stop");
  add_accept_changed_option(*command, options->accept_changed);
  add_trace_options(*command, options->trace);
  command->footer(
      "The same command again goes on from the newest checkpoint of run.folder (checkpoint.resume: auto).\n"
      "TERM, INT and USR1 ask for a stop: the run saves after the step and ends with exit code 75.\n"
      "Several ranks: launch/run_local.sh -n 2 " +
      name + " CONFIG\n  rosa " + name + " run.yaml --dry-run\n  rosa " + name +
      " run.yaml --set train.num_steps=5000");
  command->callback(
      [&action, options, objective] { action = [options, objective] { return run_training(*options, objective); }; });
}

}  // namespace

void add_train_command(CLI::App& program, Action& action) {
  add_command(program, action, "train", "Distils a base model into one with a short window and ROSA adapters.",
              training::Objective::distill);
}

void add_pretrain_command(CLI::App& program, Action& action) {
  add_command(program, action, "pretrain", "Trains a base model (the demo's teachers) with the same loop.",
              training::Objective::pretrain);
}

}  // namespace rosa::launch
