// `rosa experiment`: compares gradient estimators on small tasks, as a YAML file says.
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "launch/build_info.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/experiment_config_file.h"
#include "launch/host_facts.h"
#include "launch/output_file.h"
#include "launch/process.h"
#include "launch/session.h"
#include "training/automaton_threads.h"
#include "training/experiment/experiment.h"
#include "training/fault_injection.h"

namespace rosa::launch {
namespace {

struct ExperimentOptions {
  std::vector<std::string> files;
  std::vector<std::string> overrides;
};

std::string machine_text() {
  const HostFacts facts = read_host_facts();
  return base::concat(facts.cpu, ", ", usable_cores(facts), " cores");
}

// One file's; false where a stop was requested.
bool run_one(Session& session, const LoadedExperiment& loaded, const std::string& file) {
  const training::ExperimentConfig& config = loaded.config;
  session.start_log(config.experiment.folder);
  session.start_watchdog(config.watchdog, config.experiment.folder);
  parallel::Communicator& communicator = session.communicator();
  communicator.set_debug_mode(config.parallel.debug_collectives);
  communicator.set_timeout(config.parallel.collective_timeout_s);
  at::set_num_threads(static_cast<int>(config.compute.threads));
  HostExecutor executor(training::num_automaton_threads(config.compute, communicator));
  const training::ExperimentContext context{.communicator = communicator,
                                            .executor = executor,
                                            .stop_requested = stop_requested,
                                            .resolved_config = loaded.text,
                                            .settings = loaded.settings,
                                            .command = "rosa experiment " + file,
                                            .machine = machine_text(),
                                            .commit = kBuildVersion,
                                            .on_notice = [](const std::string& text) { base::log_info(text); }};
  return training::run_experiment(config, loaded.arms, context) == training::RunOutcome::finished;
}

int run_experiments(const ExperimentOptions& options) {
  // Before MPI starts, so that a wrong configuration ends the job with its own message alone.
  std::vector<LoadedExperiment> loaded;
  for (const std::string& file : options.files) loaded.push_back(load_experiment_config(file, options.overrides));
  for (const LoadedExperiment& one : loaded) check_run_folder(one.config.experiment.folder);
  Session session(loaded.front().config.watchdog);
  listen_for_stop_signals();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is an error of a write
  training::install_faults_of_environment(session.communicator().rank());
  for (size_t i = 0; i < loaded.size(); ++i) {
    if (run_one(session, loaded[i], options.files[i])) continue;
    if (session.is_main_rank()) base::log_info("stopped on request; the same command goes on from here");
    return kExitStopped;
  }
  return kExitOk;
}

}  // namespace

void add_experiment_command(CLI::App& program, Action& action) {
  CLI::App* command =
      program.add_subcommand("experiment", "Compares gradient estimators on small tasks (docs/experiments.md).");
  const auto options = std::make_shared<ExperimentOptions>();
  command->add_option("CONFIG", options->files, "YAML configurations, one an experiment")->required();
  add_override_option(*command, options->overrides);
  command->footer(
      "The same command again goes on where it was. `rosa report FOLDER...` shows what there is, at any time.\n"
      "Several ranks: launch/run_local.sh -n 2 experiment CONFIG\n"
      "  rosa experiment configs/experiments/gate_only.yaml");
  command->callback([&action, options] { action = [options] { return run_experiments(*options); }; });
}

}  // namespace rosa::launch
