// `rosa headroom`: what retrieval could bring, before any training.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
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
#include "launch/host_facts.h"
#include "launch/output_file.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/suite_display.h"
#include "training/run_objects.h"
#include "training/run_rules.h"
#include "training/suite/headroom.h"
#include "training/tokenizer_rules.h"

namespace rosa::launch {
namespace {

struct HeadroomOptions {
  std::string file, data, model, output;
  std::string compute_dtype = "float32";
  int64_t sliding_window = 128, sequence_length = 1024;
  uint64_t seed = 0;
  training::HeadroomConfig config;
  std::vector<std::string> overrides;
  bool accept_other_tokenizer = false, force = false;
};

bool is_token_file(const std::string& path) {
  std::string start(8, '\0');
  std::ifstream(path, std::ios::binary).read(start.data(), static_cast<std::streamsize>(start.size()));
  return start == "ROSATOK\n";
}

// Of what the options name, without a configuration.
training::RunConfig config_of_options(const HeadroomOptions& options) {
  base::require<base::ConfigError>(!options.data.empty() && !options.model.empty(),
                                   "give a configuration, or both --data and --model");
  base::require<base::ConfigError>(options.overrides.empty(), "--set changes a configuration; name its file");
  base::require<base::ConfigError>(std::filesystem::is_regular_file(options.data), "--data: '", options.data,
                                   "' is no file; expected a token file (rosa data pack) or a text");
  base::require<base::ConfigError>(std::filesystem::is_directory(options.model), "--model: '", options.model,
                                   "' is no folder; expected a Hugging Face model folder");
  training::RunConfig config;
  config.run.seed = static_cast<int64_t>(options.seed);
  config.model.folder = options.model;
  config.model.compute_dtype = options.compute_dtype;
  config.student.sliding_window = options.sliding_window;
  config.data.kind = is_token_file(options.data) ? training::DataKind::token_file : training::DataKind::crops;
  config.data.held_out_path = options.data;
  config.data.sequence_length = options.sequence_length;
  config.data.accept_other_tokenizer = options.accept_other_tokenizer;
  config.compute.threads = usable_cores(read_host_facts());
  return config;
}

training::RunConfig config_of(const HeadroomOptions& options) {
  if (options.file.empty()) return config_of_options(options);
  // A run with stages ends as its last one.
  return load_run_config(options.file, options.overrides, ConfigUse::any_training).stages.back().config;
}

void check_output_of(const HeadroomOptions& options, const training::RunConfig& config) {
  if (options.output.empty()) return;
  check_output({.option = "-o",
                .path = output_path(options.output),
                .kind = OutputKind::scores,
                .inputs = {options.file, config.data.train_path, config.data.held_out_path},
                .folders = {config.model.folder, config.teacher.folder},
                .force = options.force});
}

// The held-out data of `config`, which belongs to the model. In messages it is what `option` names.
std::unique_ptr<training::DataSource> open_held_out(const training::RunConfig& config, const models::CausalModel& model,
                                                    const char* option) {
  auto data = training::make_data_source(config.data, training::DataSplit::held_out,
                                         static_cast<uint64_t>(config.run.seed), /*samples_per_step=*/1);
  base::ConfigProblems problems;
  training::check_with_data(problems, config.data, *data, option, model.config());
  problems.throw_if_any({});
  const std::string trouble =
      training::TokenizerRules(config, /*has_folder=*/true, model.config().vocab_size).trouble_with(*data);
  base::require<base::ConfigError>(trouble.empty(), option, ": ", trouble);
  return data;
}

int run_headroom(const HeadroomOptions& options) {
  training::RunConfig config = config_of(options);
  check_output_of(options, config);
  Session session;
  base::require<base::ConfigError>(session.communicator().world_size() == 1,
                                   "rosa headroom works in one process; start it without mpirun");
  training::HeadroomConfig headroom_config = options.config;
  headroom_config.seed = static_cast<uint64_t>(config.run.seed);
  training::RunObjects objects =
      training::build_run(config, training::Objective::distill, session.communicator(),
                          {.training = false, .held_out = false, .teacher = true, .adapters = false});
  objects.held_out_data = open_held_out(config, *objects.model, options.file.empty() ? "--data" : "data.held_out_path");
  const training::RunParts parts = objects.parts(session.communicator());
  training::Headroom headroom;
  {
    SuiteDisplay display(session.terminal());
    headroom = training::measure_headroom(headroom_config, config, parts, [&display](int64_t done, int64_t total) {
      display.show("headroom", done, total);
    });
  }
  objects.require_same_files();
  const std::filesystem::path output = output_path(options.output);
  messages_beside(output) << base::printable(options.file.empty() ? options.data : options.file) << " with a window of "
                          << config.student.sliding_window << ": " << training::headroom_table(headroom) << std::flush;
  if (!options.output.empty()) {
    base::write_file_atomically(output, training::headroom_json(headroom).dump(2) + "\n");
  }
  return kExitOk;
}

}  // namespace

void add_headroom_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "headroom", "Before any training: what a copier by longest matches could bring a windowed model, on some data.");
  const auto options = std::make_shared<HeadroomOptions>();
  CLI::Option* config = command->add_option("CONFIG", options->file,
                                            "YAML configuration of a run: its held-out data, models and windows");
  add_override_option(*command, options->overrides);
  // In the place of a configuration.
  const auto without_config = [config](CLI::Option* option) { return option->excludes(config); };
  without_config(command->add_option("--data", options->data,
                                     "a token file (rosa data pack), or a text whose bytes are the tokens"));
  without_config(command->add_option("--model", options->model, "Hugging Face folder of the base model"));
  without_config(command->add_option("--window", options->sliding_window, "the student's window, in tokens"))
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  without_config(command->add_option("--sequence-length", options->sequence_length, "tokens of a sequence"))
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 24))
      ->capture_default_str();
  command->add_option("--num-sequences", options->config.num_sequences, "at most; half of them are fitted on")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20))
      ->capture_default_str();
  command->add_option("--hash-bits", options->config.hash_bits, "bits of a head's hash of a layer's input")
      ->check(CLI::Range(1, 63))
      ->capture_default_str();
  command->add_option("--hash-heads", options->config.hash_heads, "heads; the longest match of them counts")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  without_config(command->add_option("--seed", options->seed, "of hashes, sequences and resampling"))
      ->capture_default_str();
  without_config(command->add_option("--compute-dtype", options->compute_dtype, "of the model"))
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}))
      ->capture_default_str();
  without_config(command->add_flag("--accept-other-tokenizer", options->accept_other_tokenizer,
                                   "takes data that another tokenizer made"));
  command->add_option("-o,--output", options->output, "writes the figures as JSON; - is standard output")
      ->check(refuse_empty_name);
  command->add_flag("--force", options->force, "replaces a file that holds no scores");
  command->footer(
      "Examples:\n"
      "  rosa headroom run.yaml --set student.sliding_window=256\n"
      "  rosa headroom --data held_out.tokens --model models/Qwen3-0.6B --window 128\n"
      "What the figures mean: docs/evaluation.md.");
  command->callback([&action, options] { action = [options] { return run_headroom(*options); }; });
}

}  // namespace rosa::launch
