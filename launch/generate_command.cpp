// `rosa generate`: continues a text with a run's student (incremental, with the streaming state of ROSA).
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "launch/accept_changed.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/sampling.h"
#include "launch/token_text.h"
#include "launch/trained_run.h"
#include "models/generate.h"
#include "models/generation_config.h"
#include "parallel/single_communicator.h"
#include "training/evaluation.h"

namespace rosa::launch {
namespace {

using base::concat;

constexpr int64_t kMaxPromptBytes = int64_t{1} << 24;

struct GenerateCommandOptions {
  std::string folder, checkpoint, accept_changed, text, file, ids;
  // Which of the three was given, be it empty.
  CLI::Option *text_option = nullptr, *file_option = nullptr, *ids_option = nullptr;
  int64_t held_out_tokens = 0;
  std::string model = "rosa";
  bool print_ids = false;
  SamplingRequest sampling;
  std::vector<std::string> overrides;
};

std::vector<int64_t> parse_ids(const std::string& text) {
  std::vector<int64_t> ids;
  const char* next = text.data();
  const char* end = text.data() + text.size();
  while (true) {
    while (next != end && *next == ' ') ++next;
    int64_t id = 0;
    const auto [after, error] = std::from_chars(next, end, id);
    base::require<base::ConfigError>(error == std::errc() && id >= 0,
                                     "--ids: expected token ids, separated by commas, "
                                     "as in 12,7,140; entry ",
                                     ids.size() + 1, " is none");
    ids.push_back(id);
    next = after;
    while (next != end && *next == ' ') ++next;
    if (next == end) return ids;
    base::require<base::ConfigError>(*next++ == ',', "--ids: expected a comma behind entry ", ids.size());
  }
}

// The prompt that was given, before anything is loaded; nothing where it is to be a held-out sequence.
std::optional<std::vector<int64_t>> given_prompt(const GenerateCommandOptions& options) {
  const auto of_text = [](const std::string& text, const char* option) {
    base::require<base::ConfigError>(!text.empty(), option, ": the prompt is empty; generation goes on from at least ",
                                     "one token");
    return bytes_of_text(text);
  };
  if (options.text_option->count() > 0) return of_text(options.text, "--prompt");
  if (options.file_option->count() > 0) {
    return of_text(base::read_file(options.file, kMaxPromptBytes, base::FileKind::any), "--prompt-file");
  }
  if (options.ids_option->count() == 0) return std::nullopt;
  base::require<base::ConfigError>(options.ids.find_first_not_of(' ') != std::string::npos,
                                   "--ids: the prompt is empty; generation goes on from at least one token");
  return parse_ids(options.ids);
}

std::vector<int64_t> held_out_prompt(int64_t wanted, const training::DataSource& held_out) {
  const training::Batch batch = held_out.batch(/*step=*/0, /*first_sample=*/0, /*num_samples=*/1);
  const at::Tensor row = batch.input_ids[0].to(at::kCPU).contiguous();
  const int64_t num_padding = batch.padding.defined() ? batch.padding.sum().item<int64_t>() : 0;
  const int64_t length = row.size(0) - num_padding;
  base::require<base::ConfigError>(wanted <= length, "--held-out ", wanted, ": the held-out sequence has ", length,
                                   " tokens");
  const int64_t count = wanted > 0 ? wanted : std::max<int64_t>(1, length / 2);
  return {row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + count};
}

// What the model can't have seen is refused, or said.
void check_prompt(const std::vector<int64_t>& ids, const GenerateCommandOptions& options,
                  const models::Qwen3Config& model, int64_t max_new_tokens) {
  for (size_t i = 0; i < ids.size(); ++i) {
    base::require<base::ConfigError>(ids[i] < model.vocab_size, "token ", i, " of the prompt is ", ids[i],
                                     "; the model knows ids below ", model.vocab_size);
  }
  const bool is_text = options.text_option->count() + options.file_option->count() > 0;
  constexpr int64_t kByteValues = 256;
  if (is_text && model.vocab_size > kByteValues) {
    base::log_warning(base::concat("the prompt's bytes are taken as token ids, but the model has ", model.vocab_size,
                                   " of them, a tokenizer's: give the ids of the text by --ids, and --print-ids"));
  }
  const auto length = static_cast<int64_t>(ids.size());
  if (max_new_tokens > model.max_position_embeddings - length) {
    base::log_warning(base::concat(
        "the prompt has ", length, " tokens",
        length > model.max_position_embeddings ? "" : base::concat(", and up to ", max_new_tokens, " follow"),
        ": more than the model's max_position_embeddings, ", model.max_position_embeddings,
        "; what it says beyond them may be poor"));
  }
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
  check_request(options.sampling);
  std::optional<std::vector<int64_t>> ids = given_prompt(options);
  base::require<base::ConfigError>(options.model == "rosa" || options.checkpoint.empty(), "--checkpoint has no effect ",
                                   "with --model ", options.model, ", which has no trained weights; leave one out");
  const auto communicator = parallel::make_single_communicator();
  const TrainedRun run = load_trained_run({.folder = options.folder,
                                           .checkpoint = options.checkpoint,
                                           .overrides = options.overrides,
                                           .accepted = parse_accepted(options.accept_changed),
                                           .needs_held_out = !ids.has_value()},
                                          *communicator);
  if (!ids) ids = held_out_prompt(options.held_out_tokens, *run.objects.held_out_data);
  const auto of_model = models::load_generation_config(run.config.model.folder);
  const models::Qwen3Config& model = run.objects.model->config();
  const Sampling sampling =
      resolve_sampling(options.sampling, of_model, model.eos_token_ids, static_cast<int64_t>(ids->size()));
  check_prompt(*ids, options, model, sampling.options.max_new_tokens);
  if (of_model) {
    for (const std::string& key : of_model->not_implemented) {
      base::log_warning("generation_config.json: " + key + " is not implemented and does not count");
    }
  }
  // Standard output is for the text alone.
  base::log_info(sampling.text);

  models::ForwardOptions forward;  // the teacher's: global attention, no adapters
  if (options.model != "teacher") {
    const models::AdapterSet* adapters = options.model == "rosa" ? run.objects.adapters.get() : nullptr;
    forward = training::student_options(run.config, adapters, *run.objects.executor);
  }
  const at::Tensor prompt = at::tensor(*ids, at::kLong).unsqueeze(0).to(run.objects.device);
  TextOutput output;
  write_tokens(prompt, options.print_ids, output);
  models::generate(*run.objects.model, prompt, forward, sampling.options,
                   [&](const at::Tensor& tokens) { write_tokens(tokens, options.print_ids, output); });
  output.end_line();
  return kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("generate", "Continues a text with the student of a run.");
  const auto options = std::make_shared<GenerateCommandOptions>();
  command->add_option("RUN", options->folder, "run folder")->required()->check(CLI::ExistingDirectory);
  CLI::Option_group* prompt = command->add_option_group("Prompt", "one of these; default: half of a held-out sequence");
  options->text_option = prompt->add_option("--prompt", options->text, "text, whose bytes are the tokens");
  options->file_option =
      prompt->add_option("--prompt-file", options->file, "file, whose bytes are the tokens")->check(CLI::ExistingFile);
  options->ids_option = prompt->add_option("--ids", options->ids, "token ids, separated by commas");
  prompt->add_option("--held-out", options->held_out_tokens, "this many tokens of a held-out sequence")
      ->check(CLI::PositiveNumber);
  prompt->require_option(0, 1);
  command->add_option("--model", options->model, "rosa: the student; window: without its adapters; teacher")
      ->check(CLI::IsMember({"rosa", "window", "teacher"}))
      ->capture_default_str();
  const char* of_model = "default: the model folder's generation_config.json, else ";
  command->add_option("-n,--max-new-tokens", options->sampling.max_new_tokens,
                      concat("tokens to add; ", of_model, "128"));
  command->add_option("--temperature", options->sampling.temperature,
                      concat("0: the likeliest token; above: samples; ", of_model, "0"));
  command->add_option("--top-k", options->sampling.top_k,
                      concat("samples among the k likeliest; 0: all; ", of_model, "0"));
  command->add_option("--top-p", options->sampling.top_p,
                      concat("samples among the likeliest that sum up to p; ", of_model, "1"));
  command->add_option("--seed", options->sampling.seed, "of the samples (default 0)");
  command->add_flag("--print-ids", options->print_ids, "writes token ids instead of bytes");
  command->add_option("--checkpoint", options->checkpoint,
                      "a checkpoint, by its path or its name in the run (default: the newest complete one), or "
                      "a file of adapter weights");
  add_accept_changed_option(*command, options->accept_changed);
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa generate runs/mine --prompt Once -n 200 --temperature 0.8 --top-p 0.9 --seed 1\n"
      "  rosa generate runs/mine --ids 1,2,3 --print-ids\n"
      "  rosa generate runs/mine --held-out 200 --model teacher");
  command->callback([&action, options] { action = [options] { return run_generate(*options); }; });
}

}  // namespace rosa::launch
