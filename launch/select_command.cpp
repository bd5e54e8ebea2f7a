// `rosa select`: which layers of a student keep global attention or get ROSA within a budget of state, by measured KL.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/formatted.h"
#include "base/printable.h"
#include "launch/accept_changed.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/suite_display.h"
#include "launch/trained_run.h"
#include "training/run_rules.h"
#include "training/suite/layer_selection.h"
#include "training/suite/selection_measure.h"

namespace rosa::launch {
namespace {

using base::concat;

constexpr int64_t kDefaultSequences = 32;

struct SelectOptions {
  std::string source, checkpoint, accept_changed, output;
  training::SelectionLimits limits;
  int64_t num_sequences = 0, sequence_length = 0, state_tokens = 8192;  // 0: not given
  std::vector<std::string> overrides;
  bool as_json = false, force = false;

  bool is_run() const { return std::filesystem::is_directory(source); }
  // With those that the options stand for.
  std::vector<std::string> all_overrides() const {
    std::vector<std::string> all = overrides;
    add(all, "--num-sequences", num_sequences, "evaluation.num_sequences", kDefaultSequences);
    add(all, "--sequence-length", sequence_length, "data.sequence_length", 0);
    return all;
  }

 private:
  // `otherwise`: in the place of an option that is not given; 0: nothing.
  void add(std::vector<std::string>& all, const char* option, int64_t given, const std::string& key,
           int64_t otherwise) const {
    const bool is_set = std::any_of(overrides.begin(), overrides.end(),
                                    [&](const std::string& text) { return text.starts_with(key + "="); });
    base::require<base::ConfigError>(!is_set || given == 0, option, " and --set ", key,
                                     " say the same thing; give one");
    const int64_t value = given > 0 ? given : otherwise;
    if (!is_set && value > 0) all.push_back(concat(key, "=", value));
  }
};

// Before the work: a file that can't be written is found at once.
void check_output_of(const SelectOptions& options, const training::RunConfig& config) {
  check_output({.option = "-o",
                .path = output_path(options.output),
                .kind = OutputKind::layers,
                .inputs = {options.source, options.checkpoint, config.data.train_path, config.data.held_out_path,
                           config.train.init_from},
                .folders = {options.is_run() ? options.source : config.run.folder, config.model.folder},
                .force = options.force});
}

// The student of a configuration before its training.
TrainedRun untrained(const LoadedConfig& loaded, parallel::Communicator& communicator) {
  TrainedRun run;
  run.config = loaded.stages.back().config;  // what a run with stages ends as
  base::ConfigProblems problems;
  training::check_sizes_with_model(problems, run.config, training::Objective::distill,
                                   training::model_config_of(run.config, training::Objective::distill),
                                   /*world_size=*/1);
  problems.throw_if_any(loaded.stages.back().origin);
  run.objects = training::build_run(run.config, training::Objective::distill, communicator,
                                    {.training = false, .held_out = true, .teacher = true});
  if (!run.config.train.init_from.empty()) training::load_start_weights(run.config, *run.objects.adapters);
  return run;
}

std::string layers_text(const std::vector<int64_t>& layers) {
  std::string text = layers.size() == 1 ? "layer " : "layers ";
  for (size_t i = 0; i < layers.size(); ++i) text += concat(i > 0 ? ", " : "", layers[i]);
  return text;
}

// What a reader of the choice has to know besides: which layers could not get ROSA, and why.
std::string notes(const SelectOptions& options, const TrainedRun& run, const training::CountedCosts& counted) {
  const models::AdapterSet& adapters = *run.objects.adapters;
  std::vector<int64_t> without;
  for (int64_t layer = 0; layer < run.objects.model->config().num_hidden_layers; ++layer) {
    if (!adapters.has_layer(layer)) without.push_back(layer);
  }
  std::string text;
  if (!run.config.student.global_layers.empty()) {
    text += concat("student.global_layers names ", layers_text(run.config.student.global_layers),
                   ", which are chosen anew here like all others\n");
  }
  if (!without.empty()) {
    text += concat(layers_text(without), options.is_run() ? ": no trained adapter" : ": no adapter (adapter.layers)",
                   ", so no choice of ROSA\n");
  }
  if (!counted.silent_layers.empty()) {
    text += concat(
        layers_text(counted.silent_layers), ": the adapter's output is 0 whatever it retrieves",
        options.is_run() ? std::string() : std::string(" before training"), ", so no choice of ROSA",
        options.is_run() ? "" : "; train.init_from, or a run in the place of the configuration, gives trained ones",
        "\n");
  }
  if (counted.num_tokens > 0) {
    text += concat("ROSA's bytes a token: of its state in memory behind a text of ", counted.num_tokens, " tokens\n");
  }
  return text;
}

std::string keys_file(const SelectOptions& options, const training::LayerSelection& selection) {
  return concat("# rosa select ", base::printable(options.source), " --budget ", options.limits.budget, ": ",
                base::formatted("KL %.5f at %.1f bytes of state a token\n", selection.kl, selection.bytes),
                training::selection_yaml(selection));
}

int run_select(const SelectOptions& options) {
  const std::set<std::string> accepted = parse_accepted(options.accept_changed);
  base::require<base::ConfigError>(options.is_run() || (options.checkpoint.empty() && accepted.empty()),
                                   "--checkpoint and --accept-changed are for a run, but '", options.source,
                                   "' is no folder");
  LoadedConfig loaded;
  if (!options.is_run()) loaded = load_run_config(options.source, options.all_overrides(), ConfigUse::any_training);
  if (!options.output.empty() && !options.is_run()) check_output_of(options, loaded.config);
  Session session;
  const TrainedRun run = options.is_run() ? load_trained_run({.folder = options.source,
                                                              .checkpoint = options.checkpoint,
                                                              .overrides = options.all_overrides(),
                                                              .accepted = accepted},
                                                             session.communicator())
                                          : untrained(loaded, session.communicator());
  if (!options.output.empty() && options.is_run()) check_output_of(options, run.config);
  const training::RunParts parts = run.objects.parts(session.communicator());
  const int64_t num_layers = parts.model.config().num_hidden_layers;
  training::CountedCosts counted;
  training::LayerSelection selection;
  {
    SuiteDisplay display(session.terminal());
    int64_t num_rounds = 0;
    counted = training::count_costs(run.config, parts, options.state_tokens);
    std::optional<training::SelectionMeasure> measure;  // made when the budget is known to hold something
    const auto measure_round = [&](const std::vector<training::LayerKinds>& students) {
      if (!measure) measure.emplace(run.config, parts);
      const std::string name = concat("round ", num_rounds++);
      measure->set_progress([&](int64_t done, int64_t total) { display.show(name, done, total); });
      return measure->kl(students);
    };
    selection = training::select_layers(options.limits, counted.costs, training::bare_layers(run.config, num_layers),
                                        measure_round);
    selection.num_tokens = measure->num_tokens();
    selection.num_sequences = measure->num_sequences();
  }
  if (!session.is_main_rank()) return kExitOk;
  const std::filesystem::path output = output_path(options.output);
  const std::string keys = keys_file(options, selection);
  if (options.as_json) {
    nlohmann::ordered_json json = {{"source", options.source}, {"num_steps_done", run.num_steps_done}};
    json["budget"] = options.limits.budget;
    json.update(training::selection_json(selection, counted.costs));
    json["silent_layers"] = counted.silent_layers;
    messages_beside(output) << json.dump(2) << std::endl;
  } else {
    messages_beside(output) << base::printable(options.source)
                            << (options.is_run() ? concat(" after ", run.num_steps_done, " steps")
                                                 : std::string(" before training"))
                            << ": " << training::selection_table(selection, counted.costs)
                            << notes(options, run, counted) << "\n"
                            << (options.output.empty() ? keys : std::string()) << std::flush;
  }
  if (!options.output.empty()) base::write_file_atomically(output, keys);
  return kExitOk;
}

}  // namespace

void add_select_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "select", "Which layers keep global attention or get ROSA within a budget of state: greedy, by measured KL.");
  const auto options = std::make_shared<SelectOptions>();
  command
      ->add_option("RUN|CONFIG", options->source,
                   "run folder (its trained adapters), or YAML configuration (before training)")
      ->required();
  command
      ->add_option("--budget", options->limits.budget,
                   "bytes of state that a token of the text may take, in all layers")
      ->required()
      ->type_name("BYTES");
  command
      ->add_option("--num-sequences", options->num_sequences,
                   "held-out sequences that every choice is measured on (default: 32)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20));
  command
      ->add_option("--sequence-length", options->sequence_length,
                   "tokens of a sequence (default: as data.sequence_length)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24));
  command
      ->add_option("--state-tokens", options->state_tokens,
                   "length of the text for which ROSA's bytes a token are counted")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str();
  command
      ->add_option("--max-forwards", options->limits.max_forwards,
                   "forwards of the student, each over all sequences; no round begins that needs more (default: no "
                   "limit)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40));
  command->add_option("--checkpoint", options->checkpoint,
                      "of a run: a checkpoint, by its path or its name in the run (default: the newest complete one), "
                      "or a file of adapter weights");
  add_accept_changed_option(*command, options->accept_changed);
  command
      ->add_option("-o,--output", options->output,
                   "writes the keys as YAML, to paste into a configuration; - is "
                   "standard output")
      ->check(refuse_empty_name);
  command->add_flag("--json", options->as_json, "prints everything as JSON");
  command->add_flag("--force", options->force, "replaces a file that holds something else");
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa select runs/mine --budget 4096\n"
      "  rosa select run.yaml --budget 16384 --num-sequences 64 -o layers.yaml\n"
      "How it chooses, and how far that can be trusted: docs/select.md.");
  command->callback([&action, options] { action = [options] { return run_select(*options); }; });
}

}  // namespace rosa::launch
