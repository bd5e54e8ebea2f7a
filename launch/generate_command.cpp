// `rosa generate`: continues a text with a run's student (incremental, with the streaming state of ROSA).
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/accept_changed.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/model_tokenizer.h"
#include "launch/output_file.h"
#include "launch/prompt_file.h"
#include "launch/text_generation.h"
#include "launch/trained_run.h"
#include "parallel/single_communicator.h"

namespace rosa::launch {
namespace {

using base::concat;

constexpr int64_t kMaxPromptBytes = int64_t{1} << 30;

struct GenerateCommandOptions {
  std::string folder, checkpoint, accept_changed, text, file, ids, prompts, output;
  // Which of them was given, be it empty.
  CLI::Option *text_option = nullptr, *file_option = nullptr, *ids_option = nullptr, *prompts_option = nullptr,
              *held_out_option = nullptr, *system_option = nullptr, *batch_option = nullptr;
  int64_t held_out_tokens = 0;
  bool force = false;
  TextGenerationOptions generation;
  std::string session;
  std::vector<std::string> overrides;

  bool has_text() const { return text_option->count() + file_option->count() > 0; }
  bool has_prompt() const { return has_text() || ids_option->count() + prompts_option->count() > 0; }
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

// The text that was given, before anything is loaded.
std::string given_text(const GenerateCommandOptions& options) {
  const bool is_file = options.file_option->count() > 0;
  std::string text = is_file ? base::read_file(options.file, kMaxPromptBytes, base::FileKind::any) : options.text;
  base::require<base::ConfigError>(!text.empty(), is_file ? "--prompt-file" : "--prompt",
                                   ": the prompt is empty; generation goes on from at least one token");
  return text;
}

std::vector<int64_t> given_ids(const GenerateCommandOptions& options) {
  base::require<base::ConfigError>(options.ids.find_first_not_of(' ') != std::string::npos,
                                   "--ids: the prompt is empty; generation goes on from at least one token");
  return parse_ids(options.ids);
}

// What no model could make right.
void check_options(const GenerateCommandOptions& options) {
  const TextGenerationOptions& generation = options.generation;
  const auto refuse_if = [](bool wrong, const auto&... parts) { base::require<base::ConfigError>(!wrong, parts...); };
  check_request(generation.sampling);
  const bool many = options.prompts_option->count() > 0;
  refuse_if(generation.model != "rosa" && !options.checkpoint.empty(), "--checkpoint has no effect with --model ",
            generation.model, ", which has no trained weights; leave one out");
  std::error_code ignored;
  refuse_if(many && !std::filesystem::exists(options.prompts, ignored), "--prompts: there is no file ",
            base::printable(options.prompts));
  refuse_if(many && options.output.empty(), "--prompts needs -o FILE, where the continued lines go");
  refuse_if(!many && !options.output.empty(), "-o is for --prompts; one text goes to standard output");
  refuse_if(!many && options.batch_option->count() > 0, "--batch is for --prompts; leave it out");
  refuse_if(generation.batch < 1, "--batch is ", generation.batch, "; expected a positive number");
  refuse_if(many && !options.session.empty(), "--session goes on with one text; leave out --prompts");
  refuse_if(many && generation.is_chat, "--chat has no effect with --prompts, whose lines with messages are ",
            "conversations; leave it out");
  refuse_if(many && generation.print_ids, "--print-ids has no effect with --prompts, whose output holds text and ids; ",
            "leave it out");
  refuse_if(generation.is_chat && options.ids_option->count() + options.held_out_option->count() > 0,
            "--chat takes text: --prompt, --prompt-file, or lines of standard input");
  refuse_if(!generation.is_chat && options.system_option->count() > 0, "--system is for --chat; add it");
  for (const std::string& stop : generation.stops) refuse_if(stop.empty(), "--stop: the text is empty");
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

// Files that are written must not be what is read.
void check_outputs(const GenerateCommandOptions& options) {
  std::vector<std::filesystem::path> inputs;
  for (const std::string& input : {options.file, options.prompts}) {
    if (!input.empty()) inputs.emplace_back(input);
  }
  if (!options.output.empty()) {
    check_output({.option = "-o",
                  .path = output_path(options.output),
                  .kind = OutputKind::continuations,
                  .inputs = inputs,
                  .folders = {options.folder},
                  .force = options.force});
  }
  if (!options.session.empty()) {
    check_output({.option = "--session",
                  .path = options.session,
                  .kind = OutputKind::session,
                  .inputs = inputs,
                  .folders = {options.folder}});
  }
}

// Whose weights speak, in words.
std::string name_of_weights(const GenerateCommandOptions& options, const TrainedRun& run) {
  if (options.generation.model != "rosa") return run.config.model.folder;
  if (!options.checkpoint.empty() && run.num_steps_done == 0) return options.checkpoint;
  return concat(options.folder, ", step ", run.num_steps_done);
}

int run_generate(const GenerateCommandOptions& options) {
  check_options(options);
  check_outputs(options);
  TextGenerationOptions wanted = options.generation;
  wanted.session = options.session;
  const bool is_many = options.prompts_option->count() > 0, is_ids = options.ids_option->count() > 0;
  const std::string text = options.has_text() ? given_text(options) : "";
  const std::vector<int64_t> ids = is_ids ? given_ids(options) : std::vector<int64_t>();
  const std::vector<FilePrompt> prompts = is_many ? read_prompts(options.prompts) : std::vector<FilePrompt>();
  const bool is_held_out =
      options.held_out_option->count() > 0 || (!options.has_prompt() && options.session.empty() && !wanted.is_chat);
  const auto communicator = parallel::make_single_communicator();
  const TrainedRun run = load_trained_run({.folder = options.folder,
                                           .checkpoint = options.checkpoint,
                                           .overrides = options.overrides,
                                           .accepted = parse_accepted(options.accept_changed),
                                           .needs_held_out = is_held_out},
                                          *communicator);
  const bool is_text = options.has_text() || wanted.is_chat || !wanted.stops.empty();
  const bool only_ids =
      is_many ? std::all_of(prompts.begin(), prompts.end(), [](const FilePrompt& each) { return !each.ids.empty(); }) &&
                    find_model_tokenizer(run.config.model.folder, run.objects.model->config().vocab_size) == nullptr
              : wanted.print_ids;
  TextGeneration generation(run, wanted, name_of_weights(options, run), is_text || !only_ids);
  if (is_many) {
    generation.continue_prompts(prompts, output_path(options.output));
  } else if (wanted.is_chat) {
    options.has_text() ? generation.answer(text) : generation.converse();
  } else if (options.has_text()) {
    generation.continue_text(text);
  } else {
    generation.continue_ids(is_held_out ? held_out_prompt(options.held_out_tokens, *run.objects.held_out_data) : ids);
  }
  return kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand("generate", "Continues a text with the student of a run.");
  const auto options = std::make_shared<GenerateCommandOptions>();
  command->add_option("RUN", options->folder, "run folder")->required()->check(CLI::ExistingDirectory);
  TextGenerationOptions& generation = options->generation;
  CLI::Option_group* prompt = command->add_option_group(
      "Prompt", "one of these; default: half of a held-out sequence, or what --session or --chat has");
  options->text_option = prompt->add_option("--prompt", options->text, "text");
  options->file_option = prompt->add_option("--prompt-file", options->file, "file of a text")->check(CLI::ExistingFile);
  options->ids_option = prompt->add_option("--ids", options->ids, "token ids, separated by commas");
  options->prompts_option =
      prompt->add_option("--prompts", options->prompts,
                         "file of many prompts, a line each: {\"prompt\": TEXT}, {\"ids\": [...]} or {\"messages\": "
                         "[...]}, perhaps with max_new_tokens and seed; needs -o");
  options->held_out_option =
      prompt->add_option("--held-out", options->held_out_tokens, "this many tokens of a held-out sequence")
          ->check(CLI::PositiveNumber);
  prompt->require_option(0, 1);
  command->add_flag("--chat", generation.is_chat,
                    "a conversation (ChatML): --prompt is one turn; without it, each line of standard input is");
  options->system_option = command->add_option("--system", generation.system, "what --chat begins with");
  command->add_option("--session", options->session,
                      "file that keeps the text with all that the model knows of it: a later call goes on from there");
  command->add_option("-o,--output", options->output,
                      "with --prompts: file for a line {\"text\", \"ids\", \"ended_by\"} each; - is standard output");
  command->add_flag("--force", options->force, "replaces a file of -o that is something else");
  options->batch_option =
      command->add_option("--batch", generation.batch, "with --prompts: texts that are continued at once")
          ->capture_default_str();
  command->add_option("--model", generation.model, "rosa: the student; window: without its adapters; teacher")
      ->check(CLI::IsMember({"rosa", "window", "teacher"}))
      ->capture_default_str();
  const char* of_model = "default: the model folder's generation_config.json, else ";
  command->add_option("-n,--max-new-tokens", generation.sampling.max_new_tokens,
                      concat("tokens to add; ", of_model, "128"));
  command->add_option("--temperature", generation.sampling.temperature,
                      concat("0: the likeliest token; above: samples; ", of_model, "0"));
  command->add_option("--top-k", generation.sampling.top_k,
                      concat("samples among the k likeliest; 0: all; ", of_model, "0"));
  command->add_option("--top-p", generation.sampling.top_p,
                      concat("samples among the likeliest that sum up to p; ", of_model, "1"));
  command->add_option("--seed", generation.sampling.seed, "of the samples (default 0)");
  command->add_option("--min-p", generation.sampling.min_p,
                      concat("samples among those at least this likely, the likeliest being 1; ", of_model, "0"));
  command->add_option("--repetition-penalty", generation.sampling.repetition_penalty,
                      concat("makes tokens that the text holds less likely; 1: none; ", of_model, "1"));
  command
      ->add_option("--stop", generation.stops,
                   "a text that ends the continuation, and is not shown; may be given several times")
      ->allow_extra_args(false);
  const std::map<std::string, models::Speculation> speculations = {
      {"off", models::Speculation::off}, {"on", models::Speculation::on}, {"auto", models::Speculation::automatic}};
  command
      ->add_option("--speculate", generation.speculation,
                   "drafts tokens from what the text repeats, several a step; changes none of them (default auto)")
      ->transform(CLI::CheckedTransformer(speculations, CLI::ignore_case));
  command->add_flag("--print-ids", generation.print_ids, "writes token ids instead of text");
  command->add_option("--checkpoint", options->checkpoint,
                      "a checkpoint, by its path or its name in the run (default: the newest complete one), or "
                      "a file of adapter weights");
  add_accept_changed_option(*command, options->accept_changed);
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa generate runs/mine --prompt Once -n 200 --temperature 0.8 --top-p 0.9 --seed 1\n"
      "  rosa generate runs/mine --chat --session talk.session\n"
      "  rosa generate runs/mine --prompts prompts.jsonl -o continued.jsonl\n"
      "  rosa generate runs/mine --ids 1,2,3 --print-ids\n"
      "  rosa generate runs/mine --held-out 200 --model teacher");
  command->callback([&action, options] { action = [options] { return run_generate(*options); }; });
}

}  // namespace rosa::launch
