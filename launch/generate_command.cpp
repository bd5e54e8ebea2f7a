// `rosa generate`: continues a text with a run's student (incremental, with the streaming state of ROSA).
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/token_text.h"
#include "launch/trained_run.h"
#include "models/generate.h"
#include "parallel/single_communicator.h"
#include "training/evaluation.h"

namespace rosa::launch {
namespace {

constexpr int64_t kMaxPromptBytes = int64_t{1} << 24;

struct GenerateCommandOptions {
  std::string folder, checkpoint, text, file;
  std::vector<int64_t> ids;
  int64_t held_out_tokens = 0;
  std::string model = "rosa";
  bool print_ids = false;
  models::GenerateOptions sampling;
  std::vector<std::string> overrides;
};

std::vector<int64_t> prompt_ids(const GenerateCommandOptions& options, const training::DataSource& held_out) {
  if (!options.ids.empty()) return options.ids;
  if (!options.text.empty()) return bytes_of_text(options.text);
  if (!options.file.empty()) return bytes_of_text(base::read_file(options.file, kMaxPromptBytes, base::FileKind::any));
  const at::Tensor row = held_out.batch(0, 0, 1).input_ids[0].to(at::kCPU).contiguous();
  const int64_t wanted = options.held_out_tokens > 0 ? options.held_out_tokens : row.size(0) / 2;
  const int64_t count = std::min(wanted, row.size(0));
  return {row.data_ptr<int64_t>(), row.data_ptr<int64_t>() + count};
}

void write_tokens(const at::Tensor& tokens, bool as_ids, TextOutput& output) {
  if (!as_ids) {
    output.write(text_of_bytes(tokens));
    return;
  }
  const at::Tensor ids = tokens.to(at::kCPU, at::kLong).reshape({-1}).contiguous();
  std::string text;
  for (int64_t i = 0; i < ids.numel(); ++i) text += std::to_string(ids.const_data_ptr<int64_t>()[i]) + ' ';
  output.write(text);
}

int run_generate(const GenerateCommandOptions& options) {
  const auto communicator = parallel::make_single_communicator();
  const TrainedRun run = load_trained_run(options.folder, options.checkpoint, options.overrides, *communicator);
  const std::vector<int64_t> ids = prompt_ids(options, *run.objects.held_out_data);
  base::require<base::ConfigError>(!ids.empty(), "the prompt is empty; give one by --prompt, --prompt-file or --ids");
  const at::Tensor prompt = at::tensor(ids, at::kLong).unsqueeze(0).to(run.objects.device);

  models::ForwardOptions forward;  // the teacher's: global attention, no adapters
  if (options.model != "teacher") {
    const models::AdapterSet* adapters = options.model == "rosa" ? run.objects.adapters.get() : nullptr;
    forward = training::student_options(run.config, adapters, *run.objects.executor);
  }
  models::GenerateOptions sampling = options.sampling;
  sampling.sample = sampling.temperature > 0;
  if (!sampling.sample) sampling.temperature = 1;
  if (sampling.stop_tokens.empty()) sampling.stop_tokens = run.objects.model->config().eos_token_ids;

  TextOutput output;
  write_tokens(prompt, options.print_ids, output);
  models::generate(*run.objects.model, prompt, forward, sampling,
                   [&](const at::Tensor& tokens) { write_tokens(tokens, options.print_ids, output); });
  output.end_line();
  return kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("generate", "Continues a text with the student of a run.");
  const auto options = std::make_shared<GenerateCommandOptions>();
  options->sampling.temperature = 0;
  options->sampling.max_new_tokens = 128;
  command->add_option("RUN", options->folder, "run folder")->required()->check(CLI::ExistingDirectory);
  CLI::Option_group* prompt = command->add_option_group("Prompt", "one of these; default: half of a held-out sequence");
  prompt->add_option("--prompt", options->text, "text, whose bytes are the tokens");
  prompt->add_option("--prompt-file", options->file, "file, whose bytes are the tokens")->check(CLI::ExistingFile);
  prompt->add_option("--ids", options->ids, "token ids, separated by commas")->delimiter(',');
  prompt->add_option("--held-out", options->held_out_tokens, "this many tokens of a held-out sequence")
      ->check(CLI::PositiveNumber);
  prompt->require_option(0, 1);
  command->add_option("--model", options->model, "rosa: the student; window: without its adapters; teacher")
      ->check(CLI::IsMember({"rosa", "window", "teacher"}))
      ->capture_default_str();
  command->add_option("-n,--max-new-tokens", options->sampling.max_new_tokens, "tokens to add")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--temperature", options->sampling.temperature, "0: the likeliest token; above: samples")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-k", options->sampling.top_k, "samples among the k likeliest; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top-p", options->sampling.top_p, "samples among the likeliest that sum up to p")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", options->sampling.seed, "of the samples")->capture_default_str();
  command->add_flag("--print-ids", options->print_ids, "writes token ids instead of bytes");
  command->add_option("--checkpoint", options->checkpoint, "a checkpoint folder (default: the newest complete one)");
  add_override_option(*command, options->overrides);
  command->callback([&action, options] { action = [options] { return run_generate(*options); }; });
}

}  // namespace rosa::launch
