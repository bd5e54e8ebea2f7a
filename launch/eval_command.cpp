// `rosa eval`: cross-entropy of a run's student, its teacher and the controls on held-out data.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/accept_changed.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/trained_run.h"
#include "training/evaluation.h"
#include "training/scoreboard.h"

namespace rosa::launch {
namespace {

struct EvalOptions {
  std::string folder, checkpoint, accept_changed, output;
  bool force = false;
  std::vector<std::string> variants = training::kAllVariants;
  std::vector<std::string> overrides;
};

// Before the work: figures that can't be written are lost.
void check_output_of(const EvalOptions& options) {
  const std::filesystem::path file = std::filesystem::path(options.folder) / "config.yaml";
  if (!std::filesystem::exists(file)) return;  // no run: whoever loads it says so
  const training::RunConfig config = load_run_config(file, options.overrides, ConfigUse::trained).config;
  check_output({.option = "-o",
                .path = output_path(options.output),
                .kind = OutputKind::scores,
                .inputs = {options.checkpoint, config.data.train_path, config.data.held_out_path},
                .folders = {options.folder, config.model.folder},
                .force = options.force});
}

int run_eval(const EvalOptions& options) {
  const std::set<std::string> accepted = parse_accepted(options.accept_changed);
  if (!options.output.empty()) check_output_of(options);
  Session session;
  const TrainedRun run = load_trained_run({.folder = options.folder,
                                           .checkpoint = options.checkpoint,
                                           .overrides = options.overrides,
                                           .accepted = accepted},
                                          session.communicator());
  const training::Scores scores =
      training::evaluate_variants(run.config, run.objects.parts(session.communicator()), options.variants);
  training::require_finite_scores(scores, run.objects.parts(session.communicator()));
  if (!session.is_main_rank()) return kExitOk;
  const std::filesystem::path output = output_path(options.output);
  std::ostream& table = messages_beside(output);
  table << training::scores_table(
               base::concat(base::printable(options.folder), " after ", run.num_steps_done, " steps"), scores)
        << std::flush;
  if (!options.output.empty()) {
    nlohmann::ordered_json report = training::scores_json(scores, false);
    if (training::has_recallable(scores)) report["recallable"] = training::scores_json(scores, true);
    base::write_file_atomically(output, report.dump(2) + "\n");
  }
  return kExitOk;
}

}  // namespace

void add_eval_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("eval", "Scores a run on held-out data, beside teacher and controls.");
  const auto options = std::make_shared<EvalOptions>();
  command->add_option("RUN", options->folder, "run folder")->required()->check(CLI::ExistingDirectory);
  command->add_option("--checkpoint", options->checkpoint,
                      "a checkpoint, by its path or its name in the run (default: the newest complete one), or "
                      "a file of adapter weights");
  add_accept_changed_option(*command, options->accept_changed);
  command->add_option("--variants", options->variants, "what to score")
      ->delimiter(',')
      ->check(CLI::IsMember(training::kAllVariants))
      ->capture_default_str();
  command->add_option("-o,--output", options->output, "writes the figures as JSON; - is standard output")
      ->check(refuse_empty_name);
  command->add_flag("--force", options->force, "replaces a file that holds no scores");
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa eval runs/mine\n"
      "  rosa eval runs/mine --variants teacher,window,rosa --set evaluation.num_sequences=256 -o scores.json");
  command->callback([&action, options] { action = [options] { return run_eval(*options); }; });
}

}  // namespace rosa::launch
