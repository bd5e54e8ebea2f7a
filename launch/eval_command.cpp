// `rosa eval`: cross-entropy of a run's student, its teacher and the controls on held-out data.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
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
#include "launch/suite_display.h"
#include "launch/suite_file.h"
#include "launch/trained_run.h"
#include "training/evaluation.h"
#include "training/scoreboard.h"
#include "training/suite/suite.h"

namespace rosa::launch {
namespace {

struct EvalOptions {
  std::string folder, checkpoint, accept_changed, output;
  bool force = false;
  std::vector<std::string> variants = training::kAllVariants;
  std::vector<std::string> overrides;
  std::string suite;
};

// Before the work: figures that can't be written are lost.
void check_output_of(const EvalOptions& options) {
  const std::filesystem::path file = std::filesystem::path(options.folder) / "config.yaml";
  if (!std::filesystem::exists(file)) return;  // no run: whoever loads it says so
  const training::RunConfig config = load_run_config(file, options.overrides, ConfigUse::trained).config;
  check_output({.option = "-o",
                .path = output_path(options.output),
                .kind = OutputKind::scores,
                .inputs = {options.checkpoint, options.suite, config.data.train_path, config.data.held_out_path},
                .folders = {options.folder, config.model.folder},
                .force = options.force});
}

// What is shown, and what the JSON file holds.
struct Findings {
  std::string table;
  nlohmann::ordered_json json;
};

Findings score_held_out(const TrainedRun& run, const EvalOptions& options, Session& session) {
  const training::RunParts parts = run.objects.parts(session.communicator());
  const training::Scores scores = training::evaluate_variants(run.config, parts, options.variants);
  training::require_finite_scores(scores, parts);
  const std::string title = base::concat(base::printable(options.folder), " after ", run.num_steps_done, " steps");
  Findings findings{training::scores_table(title, scores), training::scores_json(scores, false)};
  if (training::has_recallable(scores)) findings.json["recallable"] = training::scores_json(scores, true);
  return findings;
}

Findings score_suite(const TrainedRun& run, const EvalOptions& options, const LoadedSuite& suite, Session& session) {
  SuiteDisplay display(session.terminal());
  const training::SuiteResult result =
      training::run_suite(suite.config, run.config, run.objects.parts(session.communicator()), options.variants,
                          [&display](const training::SuitePlace& place) { display.show(place); });
  Findings findings;
  findings.table =
      base::concat(base::printable(options.folder), " after ", run.num_steps_done, " steps\n\n",
                   training::suite_tables(result, session.terminal().is_terminal ? session.terminal().num_columns : 0));
  findings.json = {{"run", options.folder}, {"num_steps_done", run.num_steps_done}, {"suite", options.suite}};
  findings.json.update(training::suite_json(result));
  return findings;
}

int run_eval(const EvalOptions& options) {
  const std::set<std::string> accepted = parse_accepted(options.accept_changed);
  std::set<std::string> variants;
  for (const std::string& name : options.variants) {
    base::require<base::ConfigError>(variants.insert(name).second, "--variants names ", name, " twice");
  }
  const std::optional<LoadedSuite> suite =
      options.suite.empty() ? std::nullopt : std::optional(load_suite(options.suite));
  if (!options.output.empty()) check_output_of(options);
  Session session;
  const TrainedRun run = load_trained_run({.folder = options.folder,
                                           .checkpoint = options.checkpoint,
                                           .overrides = options.overrides,
                                           .accepted = accepted},
                                          session.communicator());
  const Findings findings = suite ? score_suite(run, options, *suite, session) : score_held_out(run, options, session);
  if (!session.is_main_rank()) return kExitOk;
  const std::filesystem::path output = output_path(options.output);
  messages_beside(output) << findings.table << std::flush;
  if (!options.output.empty()) base::write_file_atomically(output, findings.json.dump(2) + "\n");
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
  command
      ->add_option("--suite", options->suite,
                   "long-context tasks: quick, standard, long, or a YAML file (docs/evaluation.md)")
      ->check(refuse_empty_name);
  command->add_option("-o,--output", options->output, "writes the figures as JSON; - is standard output")
      ->check(refuse_empty_name);
  command->add_flag("--force", options->force, "replaces a file that holds no scores");
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa eval runs/mine\n"
      "  rosa eval runs/mine --variants teacher,window,rosa --set evaluation.num_sequences=256 -o scores.json\n"
      "  rosa eval runs/mine --suite standard -o suite.json\n"
      "Without --suite the held-out data is scored as at the evaluations of the training.");
  command->callback([&action, options] { action = [options] { return run_eval(*options); }; });
}

}  // namespace rosa::launch
