// `rosa export`: a run as a folder that Hugging Face transformers loads.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/printable.h"
#include "launch/accept_changed.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/model_card.h"
#include "launch/output_file.h"
#include "launch/output_folder.h"
#include "launch/own_library.h"
#include "launch/run_config_file.h"
#include "launch/trained_run.h"
#include "models/export.h"
#include "parallel/single_communicator.h"
#include "training/scoreboard.h"
#include "training/trained_base.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::concat;
using base::ConfigError;
using base::require;

constexpr int64_t kMaxScoresBytes = 1 << 24;
constexpr uint64_t kDefaultShardBytes = 5'000'000'000;
constexpr const char* kCardFile = "README.md";
constexpr const char* kLibraryFile = "librosa_c.so.1";

// What a base model's folder says about text and generation.
constexpr std::array kBaseFiles = {"tokenizer.json",
                                   "tokenizer_config.json",
                                   "special_tokens_map.json",
                                   "added_tokens.json",
                                   "vocab.json",
                                   "merges.txt",
                                   "tokenizer.model",
                                   "chat_template.jinja",
                                   "chat_template.json",
                                   "generation_config.json"};

// What --lora says: added to the base's weights, or beside them in a folder of its own.
constexpr const char *kMerged = "merged", *kApart = "apart";
constexpr const char* kLoraFolder = "lora";

struct ExportOptions {
  std::string folder, output, checkpoint, accept_changed, dtype, scores, lora = kMerged;
  uint64_t max_shard_bytes = kDefaultShardBytes;
  bool adapter_only = false, evaluate = false, with_library = false;
  std::vector<std::string> overrides;
};

bool is_exported_name(const std::string& name) {
  static const std::vector<std::string> others = {
      "config.json", "adapter.safetensors", "model.safetensors.index.json", models::kAdapterConfigFile,
      kCardFile,     kLibraryFile};
  const std::string lora = concat(kLoraFolder, "/");
  if (name == lora || name == lora + models::kAdapterConfigFile || name == lora + "adapter_model.safetensors") {
    return true;
  }
  return std::count(kBaseFiles.begin(), kBaseFiles.end(), name) + std::count(others.begin(), others.end(), name) > 0 ||
         name.ends_with("_rosa.py") || (name.starts_with("model") && name.ends_with(".safetensors"));
}

bool is_export(const fs::path& folder) {
  std::ifstream card(folder / kCardFile);
  for (std::string line; std::getline(card, line);) {
    if (line == kCardMark) return true;
  }
  return false;
}

void copy_plain_file(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy_file(from, to, error);
  require<base::FileError>(!error, "can't copy ", from.string(), " to ", to.string(), ": ", error.message());
}

// Whether there is a tokenizer among them.
bool copy_base_files(const fs::path& base, const fs::path& folder) {
  bool has_tokenizer = false;
  for (const char* name : kBaseFiles) {
    std::error_code ignored;
    if (!fs::is_regular_file(base / name, ignored)) continue;
    copy_plain_file(base / name, folder / name);
    has_tokenizer = has_tokenizer || std::string(name) == "tokenizer.json" || std::string(name) == "vocab.json" ||
                    std::string(name) == "tokenizer.model";
  }
  return has_tokenizer;
}

// The program's own librosa_c.
fs::path c_library() {
  const fs::path library = own_library(kLibraryFile);
  std::error_code ignored;
  require<ConfigError>(fs::exists(library, ignored), "--with-library: ", kLibraryFile, " is not in ",
                       library.parent_path().string(), ", where the program was built or installed");
  return library;
}

nlohmann::ordered_json read_scores(const std::string& path) {
  auto scores = base::read_json<ConfigError, nlohmann::ordered_json>(path, kMaxScoresBytes);
  const bool good = scores.is_object() && scores.contains("rosa") && scores["rosa"].is_object() &&
                    scores["rosa"].contains("ce") && scores["rosa"].contains("ppl");
  require<ConfigError>(good, "--scores ", path,
                       ": holds no scores of 'rosa'; `rosa eval RUN -o FILE` writes such a file");
  return scores;
}

std::optional<nlohmann::ordered_json> make_scores(const ExportOptions& options, const TrainedRun& run,
                                                  parallel::Communicator& communicator) {
  if (!options.evaluate) return std::nullopt;
  const training::RunParts parts = run.objects.parts(communicator);
  const training::Scores scores = training::evaluate_variants(run.config, parts, training::kAllVariants);
  training::require_finite_scores(scores, parts);
  nlohmann::ordered_json json = training::scores_json(scores, false);
  if (training::has_recallable(scores)) json["recallable"] = training::scores_json(scores, true);
  return json;
}

// What is read must not be what is written.
OutputFolderRequest output_request(const ExportOptions& options) {
  OutputFolderRequest request{.option = "-o",
                              .path = options.output,
                              .inputs = {fs::path(options.folder) / "checkpoints"},
                              .is_own_name = is_exported_name,
                              .is_own = is_export};
  const fs::path file = fs::path(options.folder) / "config.yaml";
  if (fs::exists(file)) {
    request.inputs.emplace_back(load_run_config(file, options.overrides, ConfigUse::trained).config.model.folder);
  }
  return request;
}

void write_folder(const ExportOptions& options, const TrainedRun& run, const nlohmann::ordered_json* scores,
                  const fs::path& folder) {
  models::StudentExport settings;
  settings.sliding_window = run.config.student.sliding_window;
  settings.layer_windows =
      training::windows_of_layers(run.config.student, run.objects.model->config().num_hidden_layers);
  settings.sink_tokens = run.config.student.sink_tokens;
  settings.dtype = options.dtype.empty() ? run.objects.model->config().dtype : options.dtype;
  settings.max_shard_bytes = static_cast<int64_t>(options.max_shard_bytes);
  settings.base_folder = run.config.model.folder;
  settings.merge_low_rank = options.lora == kMerged;
  const models::LowRank* low_rank = run.objects.adapters->low_rank();
  require<ConfigError>(settings.merge_low_rank || low_rank != nullptr,
                       "--lora apart: this run has no low-rank adaptation (lora.rank is 0); leave the option out");
  bool has_tokenizer = false;
  if (options.adapter_only) {
    require<ConfigError>(!training::trains_base(run.config.train),
                         "--adapter-only: this run has trained weights of the base model, too "
                         "(train.trainable_base): its adapters belong to these; leave the option out");
    require<ConfigError>(low_rank == nullptr,
                         "--adapter-only: this run has a low-rank adaptation of the base model, too (lora.rank): its "
                         "adapters belong to that; leave the option out, or take --lora apart");
    settings.base_folder = fs::absolute(settings.base_folder);
    models::export_adapter(run.objects.model->config().family, *run.objects.adapters, settings, folder);
  } else {
    models::export_student(*run.objects.model, *run.objects.adapters, settings, folder);
    if (!settings.merge_low_rank) models::export_low_rank(*low_rank, folder / kLoraFolder);
    has_tokenizer = copy_base_files(settings.base_folder, folder);
  }
  if (options.with_library) copy_plain_file(c_library(), folder / kLibraryFile);
  base::write_file_atomically(folder / kCardFile,
                              model_card({.config = run.config,
                                          .family = models::traits(run.objects.model->config().family),
                                          .run_folder = options.folder,
                                          .num_steps_done = run.num_steps_done,
                                          .adapter_only = options.adapter_only,
                                          .has_tokenizer = has_tokenizer,
                                          .lora_apart = !settings.merge_low_rank,
                                          .dtype = settings.dtype,
                                          .scores = scores}));
}

int run_export(const ExportOptions& options) {
  require<ConfigError>(!options.adapter_only || options.dtype.empty(),
                       "--dtype has no effect with --adapter-only: adapters are float32; leave one out");
  require<ConfigError>(!options.adapter_only || options.lora == kMerged,
                       "--lora apart lies beside a whole model, which --adapter-only does not write; leave one out");
  require<ConfigError>(options.max_shard_bytes >= 1 && options.max_shard_bytes <= uint64_t{1} << 50,
                       "--max-shard-size: expected 1 byte to 1 PiB");
  OutputFolder output(output_request(options));
  if (options.with_library) c_library();
  std::optional<nlohmann::ordered_json> scores;
  if (!options.scores.empty()) scores = read_scores(options.scores);
  const auto communicator = parallel::make_single_communicator();
  const TrainedRun run = load_trained_run({.folder = options.folder,
                                           .checkpoint = options.checkpoint,
                                           .overrides = options.overrides,
                                           .accepted = parse_accepted(options.accept_changed),
                                           .needs_held_out = options.evaluate},
                                          *communicator);
  if (!scores) scores = make_scores(options, run, *communicator);
  write_folder(options, run, scores ? &*scores : nullptr, output.begin());
  output.commit();
  std::cout << "wrote " << base::printable(options.output) << (options.adapter_only ? ": the adapters" : ": the model")
            << (run.num_steps_done > 0 ? concat(" after ", run.num_steps_done, " steps") : std::string()) << std::endl;
  return kExitOk;
}

}  // namespace

void add_export_command(CLI::App& program, Action& action) {
  CLI::App* command =
      program.add_subcommand("export", "Writes a run as a folder that Hugging Face transformers loads.");
  const auto options = std::make_shared<ExportOptions>();
  command->add_option("RUN", options->folder, "run folder")->required()->check(CLI::ExistingDirectory);
  command->add_option("-o,--output", options->output, "the folder; one that an export wrote is replaced")
      ->required()
      ->check(refuse_empty_name);
  command->add_option("--checkpoint", options->checkpoint,
                      "a checkpoint, by its path or its name in the run (default: the newest complete one), or "
                      "a file of adapter weights");
  command
      ->add_option("--dtype", options->dtype, "of the base's weights (default: as in its folder); adapters are float32")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  command
      ->add_option("--max-shard-size", options->max_shard_bytes, "of one file of weights: 5GB (default), 500MB, 2GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  command->add_flag("--adapter-only", options->adapter_only, "the adapters without the base, and their loader");
  command
      ->add_option(
          "--lora", options->lora,
          "the low-rank adaptation of the base: merged into its weights (default), or apart, for PEFT, in lora/")
      ->check(CLI::IsMember({kMerged, kApart}));
  CLI::Option* evaluate =
      command->add_flag("--evaluate", options->evaluate, "scores the run as `rosa eval` does, for the model card");
  command->add_option("--scores", options->scores, "what `rosa eval -o` wrote, for the model card")->excludes(evaluate);
  command->add_flag("--with-library", options->with_library, "lays librosa_c, which matches fast, into the folder");
  add_accept_changed_option(*command, options->accept_changed);
  add_override_option(*command, options->overrides);
  command->footer(
      "In Python: AutoModelForCausalLM.from_pretrained(FOLDER, trust_remote_code=True) (docs/python.md).\n"
      "Examples:\n"
      "  rosa export runs/mine -o mine-hf --evaluate --with-library\n"
      "  rosa export runs/mine -o mine-hf --dtype bfloat16 --max-shard-size 2GB --scores scores.json\n"
      "  rosa export runs/mine -o mine-adapter --adapter-only --checkpoint 2000");
  command->callback([&action, options] { action = [options] { return run_export(*options); }; });
}

}  // namespace rosa::launch
