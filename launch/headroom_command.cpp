// `rosa headroom`: what retrieval could bring at most, before any training.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/output_file.h"
#include "launch/suite_display.h"
#include "models/causal_model.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/suite/headroom.h"
#include "training/tokenizer_rules.h"

namespace rosa::launch {
namespace {

struct HeadroomOptions {
  std::string data, model, output;
  std::string compute_dtype = "float32";
  int64_t sequence_length = 1024;
  training::HeadroomConfig config;
  bool accept_other_tokenizer = false, force = false;
};

bool is_token_file(const std::string& path) {
  std::string start(8, '\0');
  std::ifstream(path, std::ios::binary).read(start.data(), static_cast<std::streamsize>(start.size()));
  return start == "ROSATOK\n";
}

training::RunConfig run_config(const HeadroomOptions& options) {
  training::RunConfig config;
  config.run.seed = static_cast<int64_t>(options.config.seed);
  config.model.folder = options.model;
  config.data.kind = is_token_file(options.data) ? training::DataKind::token_file : training::DataKind::crops;
  config.data.held_out_path = options.data;
  config.data.sequence_length = options.sequence_length;
  config.data.accept_other_tokenizer = options.accept_other_tokenizer;
  return config;
}

int run_headroom(const HeadroomOptions& options) {
  base::require<base::ConfigError>(std::filesystem::is_regular_file(options.data), "--data: '", options.data,
                                   "' is no file; expected a token file (rosa data pack) or a text");
  base::require<base::ConfigError>(std::filesystem::is_directory(options.model), "--model: '", options.model,
                                   "' is no folder; expected a Hugging Face model folder");
  const std::filesystem::path output = output_path(options.output);
  if (!options.output.empty()) {
    check_output({.option = "-o",
                  .path = output,
                  .kind = OutputKind::scores,
                  .inputs = {options.data},
                  .folders = {options.model},
                  .force = options.force});
  }
  const training::RunConfig config = run_config(options);
  const auto data = training::make_data_source(config.data, training::DataSplit::held_out, options.config.seed,
                                               /*samples_per_step=*/1);
  const models::CausalModel model =
      models::CausalModel::load(options.model, options.compute_dtype, models::WeightStorage::mapped);
  const std::string trouble =
      training::TokenizerRules(config, /*has_folder=*/true, model.config().vocab_size).trouble_with(*data);
  base::require<base::ConfigError>(trouble.empty(), "--data: ", trouble);
  training::Headroom headroom;
  {
    SuiteDisplay display(find_terminal());
    headroom = training::measure_headroom(options.config, model, *data, [&display](int64_t done, int64_t total) {
      display.show("headroom", done, total);
    });
  }
  model.require_same_files();
  messages_beside(output) << base::printable(options.data) << " with a window of " << options.config.sliding_window
                          << ": " << training::headroom_table(headroom) << std::flush;
  if (!options.output.empty()) {
    base::write_file_atomically(output, training::headroom_json(headroom).dump(2) + "\n");
  }
  return kExitOk;
}

}  // namespace

void add_headroom_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "headroom", "Before any training: what retrieval could bring a windowed model at most, on some data.");
  const auto options = std::make_shared<HeadroomOptions>();
  command->add_option("--data", options->data, "a token file (rosa data pack), or a text whose bytes are the tokens")
      ->required();
  command->add_option("--model", options->model, "Hugging Face folder of the base model")->required();
  command->add_option("--window", options->config.sliding_window, "the student's window, in tokens")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30))
      ->capture_default_str();
  command->add_option("--sequence-length", options->sequence_length, "tokens of a sequence")
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
  command->add_option("--seed", options->config.seed, "of hashes, sequences and resampling")->capture_default_str();
  command->add_option("--compute-dtype", options->compute_dtype, "of the model")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}))
      ->capture_default_str();
  command->add_flag("--accept-other-tokenizer", options->accept_other_tokenizer,
                    "takes data that another tokenizer made");
  command->add_option("-o,--output", options->output, "writes the figures as JSON; - is standard output")
      ->check(refuse_empty_name);
  command->add_flag("--force", options->force, "replaces a file that holds no scores");
  command->footer(
      "Examples:\n"
      "  rosa headroom --data held_out.tokens --model models/Qwen3-0.6B --window 128\n"
      "What the figures mean: docs/evaluation.md.");
  command->callback([&action, options] { action = [options] { return run_headroom(*options); }; });
}

}  // namespace rosa::launch
