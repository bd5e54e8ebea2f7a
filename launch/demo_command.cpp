// `rosa demo`: the main job on the shipped corpora, from training to the table of figures and a generated sample.
// Each part is an ordinary run of configs/demo/, so that an interrupted demo goes on where it was.
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/process.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/token_text.h"
#include "launch/trained_run.h"
#include "launch/training_session.h"
#include "models/generate.h"
#include "training/evaluation.h"
#include "training/layer_metrics.h"
#include "training/scoreboard.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;

struct DemoPart {
  std::string name;  // of its configs (NAME.yaml, NAME_rosa_soft.yaml), run folders and place in summary.json
  std::string title;
};
const std::vector<DemoPart> kParts = {{"lines", "lines: repeated lines of English prose"},
                                      {"natural", "natural: source code as it is"},
                                      {"phrases", "phrases: random phrases repeated"}};

struct DemoOptions {
  std::string folder = "runs/demo";
  std::string configs = "configs/demo";
  std::vector<std::string> parts;
  std::vector<std::string> overrides;
};

// Trains one configuration in FOLDER/NAME, or finds it trained. Nothing where a stop was requested.
bool train_part(const DemoOptions& options, Session& session, const std::string& name) {
  std::vector<std::string> overrides = options.overrides;
  overrides.push_back("run.folder=" + (fs::path(options.folder) / name).string());
  const LoadedConfig loaded =
      load_run_config(fs::path(options.configs) / (name + ".yaml"), overrides, ConfigUse::distill);
  return train_in_session(session, loaded, training::Objective::distill) == training::RunOutcome::finished;
}

training::Scores score_part(const DemoOptions& options, Session& session, const std::string& name,
                            const std::vector<std::string>& variants) {
  const TrainedRun run = load_trained_run({.folder = fs::path(options.folder) / name}, session.communicator());
  const training::RunParts parts = run.objects.parts(session.communicator());
  const training::Scores scores = training::evaluate_variants(run.config, parts, variants);
  training::require_finite_scores(scores, parts);
  return scores;
}

nlohmann::ordered_json part_json(const training::Scores& scores) {
  nlohmann::ordered_json json = training::scores_json(scores, /*recallable=*/false);
  if (training::has_recallable(scores)) json["recallable"] = training::scores_json(scores, /*recallable=*/true);
  return json;
}

// What the symbols and matches of the last training step looked like; see docs/running.md.
std::vector<training::LayerMetrics> last_layers(const DemoOptions& options, const std::string& name) {
  return training::last_layer_metrics(fs::path(options.folder) / name / "metrics.jsonl");
}

// Half of a held-out sequence, what really follows, and what window-only student and student with ROSA make of it.
void print_sample(const DemoOptions& options, Session& session) {
  const TrainedRun run =
      load_trained_run({.folder = fs::path(options.folder) / kParts.front().name}, session.communicator());
  if (!session.is_main_rank()) return;
  const training::RunObjects& objects = run.objects;
  const at::Tensor row = objects.held_out_data->batch(/*step=*/0, /*first_sample=*/0, /*num_samples=*/1).input_ids;
  const int64_t prompt_length = row.size(1) * 2 / 3, num_new = row.size(1) - prompt_length;
  const at::Tensor prompt = row.narrow(1, 0, prompt_length).to(objects.device);
  models::GenerateOptions sampling;
  sampling.max_new_tokens = num_new;
  const auto continued = [&](const models::AdapterSet* adapters) {
    const auto forward = training::student_options(run.config, *objects.model, adapters, *objects.executor);
    const at::Tensor tokens = models::generate(*objects.model, prompt, forward, sampling);
    return text_of_bytes(tokens[0].narrow(0, prompt_length, tokens.size(1) - prompt_length));
  };
  TextOutput output;
  output.write(
      "\nA held-out sequence, continued greedily after '|' (generation keeps the window and ROSA's state only)\n");
  output.write("--- as it is ---\n" + text_of_bytes(row[0].narrow(0, 0, prompt_length)) + '|' +
               text_of_bytes(row[0].narrow(0, prompt_length, num_new)));
  output.write("\n--- window only ---\n|" + continued(nullptr));
  output.write("\n--- window + ROSA ---\n|" + continued(objects.adapters.get()));
  output.end_line();
}

void print_next_steps(const DemoOptions& options) {
  const std::string run = base::printable((fs::path(options.folder) / kParts.front().name).string());
  std::cout << "\nTo try next (the program is build/bin/rosa):\n"
            << "  rosa generate " << run << " --held-out 200 -n 100 --temperature 0.8\n"
            << "  rosa eval " << run << " --set evaluation.num_sequences=256\n"
            << "  mpirun -np 2 --bind-to none rosa train " << options.configs
            << "/lines.yaml --set run.folder=runs/mine --set adapter.query_key_bits=4\n"
            << "  rosa config dump " << options.configs << "/lines.yaml\n"
            << std::flush;
}

// Whether any rank was asked to stop while it trained; from now on a signal ends the rank at once. Collective.
bool stops_after_training(Session& session) {
  const bool stops = session.communicator()
                         .all_reduce_values(std::vector<int64_t>{stop_requested() ? 1 : 0}, parallel::Reduction::max)
                         .front() != 0;
  if (!stops) end_on_stop_signals(/*with_interrupts=*/true);
  return stops;
}

int run_demo(const DemoOptions& options) {
  const fs::path path = fs::path(options.folder) / "summary.json";
  if (fs::exists(path)) check_output({.option = "--folder", .path = path, .kind = OutputKind::scores});
  Session session;
  nlohmann::ordered_json summary;
  std::string tables;
  for (const DemoPart& part : kParts) {
    if (std::find(options.parts.begin(), options.parts.end(), part.name) == options.parts.end()) continue;
    const std::string reference = part.name + "_rosa_soft";
    if (!train_part(options, session, part.name) || !train_part(options, session, reference)) return kExitStopped;
    if (stops_after_training(session)) return kExitStopped;
    training::Scores scores = score_part(options, session, part.name, training::kAllVariants);
    scores["rosa_soft_recipe"] = score_part(options, session, reference, {"rosa"}).at("rosa");
    const std::vector<training::LayerMetrics> layers = last_layers(options, part.name);
    tables += training::scores_table(part.title, scores) + "\nWhat the operator saw in the last training step:\n" +
              training::layer_table(layers) + "\n";
    nlohmann::ordered_json json = part_json(scores);
    for (const training::LayerMetrics& layer : layers) json["layers"].push_back(training::to_json(layer));
    if (part.name == kParts.front().name) {
      summary = json;
    } else {
      summary[part.name] = json;
    }
  }
  if (session.is_main_rank()) {
    base::write_file_atomically(path, summary.dump(2) + "\n");
    std::cout << "\nCross-entropy (nats a token) and perplexity on held-out text; closed: share of the gap between\n"
              << "window only and teacher that is closed. The same figures are in " << base::printable(path.string())
              << "\n\n"
              << tables;
  }
  if (std::find(options.parts.begin(), options.parts.end(), kParts.front().name) != options.parts.end()) {
    print_sample(options, session);
    if (session.is_main_rank()) print_next_steps(options);
  }
  return kExitOk;
}

}  // namespace

void add_demo_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("demo", "Trains and scores the demo's students on the shipped corpora.");
  const auto options = std::make_shared<DemoOptions>();
  std::vector<std::string> names;
  for (const DemoPart& part : kParts) names.push_back(part.name);
  options->parts = names;
  command->add_option("--folder", options->folder, "where the runs and summary.json go")->capture_default_str();
  command->add_option("--configs", options->configs, "folder of the configurations")->capture_default_str();
  command->add_option("--parts", options->parts, "what to train")
      ->delimiter(',')
      ->check(CLI::IsMember(names))
      ->capture_default_str();
  add_override_option(*command, options->overrides);
  command->footer(
      "Run it from the checkout: paths in the configurations start there. ./launch/demo.sh does it all, on two ranks.\n"
      "The same command again goes on where it was.\n"
      "  rosa demo --parts phrases");
  command->callback([&action, options] { action = [options] { return run_demo(*options); }; });
}

}  // namespace rosa::launch
