// `rosa checkpoint`: what checkpoints a run has, whether they are whole, what is in one, and the mean of several.
#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "base/safetensors.h"
#include "launch/accept_changed.h"
#include "launch/checkpoint_path.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/host_facts.h"
#include "launch/output_file.h"
#include "launch/run_config_file.h"
#include "rosa/operator/tensor_bytes.h"
#include "training/checkpoint_store.h"
#include "training/lora.h"
#include "training/metrics.h"
#include "training/run_identity.h"
#include "training/trained_base.h"
#include "training/trainer.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::concat;
using training::Checkpoint;
using training::CheckpointStore;

constexpr const char* kPathsHelp =
    "checkpoints, or run folders for all of theirs; RUN step_00002000 picks one by its name";
constexpr int64_t kMaxConfigBytes = 1 << 24;
constexpr int kStepColumn = 10, kSizeColumn = 12, kEvaluationColumn = 12;

// Why a checkpoint is not whole; empty: it is.
std::string damage_of(const fs::path& path) {
  try {
    training::open_checkpoint(path);
    return "";
  } catch (const base::CheckpointError& error) {
    return error.what();
  }
}

int64_t size_bytes(const fs::path& path) {
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.is_regular_file()) bytes += static_cast<int64_t>(entry.file_size());
  }
  return bytes;
}

std::string padded(const std::string& text, int columns) {
  return text + std::string(static_cast<size_t>(std::max(1, columns - static_cast<int>(text.size()))), ' ');
}

std::string size_text(int64_t bytes) {
  return bytes < (1 << 20) ? concat((bytes + 1023) / 1024, " KiB") : bytes_text(bytes);
}

// "4.0904", of a figure of a suite "needle/exact 0.8750".
std::string evaluation_text(const training::CheckpointInfo& info) {
  if (!info.evaluation_loss) return "-";
  const double value =
      training::more_is_better(info.evaluated_by) ? 0.0 - *info.evaluation_loss : *info.evaluation_loss;
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f", value);
  return info.evaluated_by.empty() ? text : base::concat(base::printable(info.evaluated_by), " ", text);
}

// Lines of the run's history that were left for an older checkpoint.
void list_set_aside(const fs::path& store) {
  for (const fs::path& folder : CheckpointStore(store).set_aside_folders()) {
    std::cout << "set aside: " << base::printable(folder.string()) << " (" << CheckpointStore(folder).list().size()
              << " checkpoints)\n";
  }
}

int run_list(const std::string& folder) {
  std::cout << padded("step", kStepColumn) << padded("size", kSizeColumn) << padded("evaluation", kEvaluationColumn)
            << "state\n";
  const std::vector<fs::path> paths = checkpoint_paths({folder});
  for (const fs::path& path : paths) {
    const std::string damage = damage_of(path);
    const std::string evaluation = damage.empty() ? evaluation_text(training::read_manifest(path).info) : "-";
    std::cout << padded(std::to_string(CheckpointStore::step_of(path)), kStepColumn)
              << padded(size_text(size_bytes(path)), kSizeColumn) << padded(evaluation, kEvaluationColumn)
              << (damage.empty() ? "whole" : base::printable(damage)) << "\n";
  }
  if (!is_checkpoint(folder)) list_set_aside(paths.front().parent_path());
  std::cout << std::flush;
  return kExitOk;
}

int run_verify(const std::vector<std::string>& arguments) {
  bool all_whole = true;
  for (const fs::path& path : checkpoint_paths(arguments)) {
    const std::string damage = damage_of(path);
    all_whole = all_whole && damage.empty();
    std::cout << base::printable(damage.empty() ? concat(path.string(), ": whole") : damage) << std::endl;
  }
  return all_whole ? kExitOk : kExitCheckpoint;
}

std::string value_text(const base::StateValue& value) {
  return std::visit([](const auto& inner) { return concat(inner); }, value);
}

std::string parent_text(const std::optional<training::ParentCheckpoint>& parent) {
  return parent ? concat(", after step ", parent->step) : std::string();
}

// The scheduled quantities of the next step, from the configuration in the checkpoint.
void show_schedules(const Checkpoint& checkpoint) {
  const training::Stages stages = load_run_config(checkpoint.folder() / "config.yaml", {}, ConfigUse::trained).stages;
  const training::StagePlace place = training::place_of(checkpoint.state("progress"));
  if (place.index >= static_cast<int64_t>(stages.size())) return;
  const training::RunConfig& config = stages[static_cast<std::size_t>(place.index)].config;
  const std::string title = training::stage_title(stages, static_cast<std::size_t>(place.index));
  if (!title.empty()) std::cout << title << ", from step " << place.first_step << " on\n";
  const int64_t step = checkpoint.manifest().info.step - place.first_step;
  const training::StepSettings settings = training::step_settings(config.schedules, step, config.train.num_steps);
  std::cout << "schedules at step " << step << " of " << config.train.num_steps << ": learning_rate "
            << settings.learning_rate << ", alpha " << settings.alpha << ", bits_tau " << settings.bits_tau
            << ", attn_tau " << settings.attn_tau << "\n";
}

// The one that is named, or the newest whole one of a run.
Checkpoint checkpoint_to_show(const std::vector<std::string>& arguments) {
  const std::vector<fs::path> paths = checkpoint_paths(arguments);
  const fs::path first = arguments.front();
  const bool is_run = arguments.size() == 1 && fs::exists(first) && !is_checkpoint(first);
  return is_run ? *CheckpointStore(paths.front().parent_path()).newest_complete()
                : training::open_checkpoint(paths.back());
}

int run_show(const std::vector<std::string>& arguments) {
  const Checkpoint newest = checkpoint_to_show(arguments);
  const training::Manifest& manifest = newest.manifest();
  std::cout << base::printable(newest.folder().string()) << "\nrun " << base::printable(manifest.info.run_id)
            << ", step " << manifest.info.step << ", evaluation " << evaluation_text(manifest.info) << ", "
            << size_text(size_bytes(newest.folder())) << parent_text(manifest.info.parent) << "\n";
  if (manifest.files.contains("config.yaml")) show_schedules(newest);
  for (const std::string& name : newest.state_names()) {
    std::cout << "\nstate " << base::printable(name) << "\n";
    const base::StateDict state = newest.state(name);
    for (const auto& [key, value] : state.values) {
      std::cout << "  " << base::printable(key) << " = " << base::printable(value_text(value)) << "\n";
    }
    for (const auto& [key, tensor] : state.tensors) {
      std::cout << "  " << base::printable(key) << "  " << base::printable(tensor.dtype) << " [";
      for (size_t i = 0; i < tensor.shape.size(); ++i) std::cout << (i == 0 ? "" : ", ") << tensor.shape[i];
      std::cout << "]\n";
    }
  }
  if (manifest.files.contains("config.yaml")) {
    const std::string config = base::read_file(newest.folder() / "config.yaml", kMaxConfigBytes);
    std::cout << "\nconfig.yaml\n" << base::printable_lines(config);
  }
  std::cout << std::flush;
  return kExitOk;
}

struct AverageOptions {
  std::vector<std::string> inputs;
  std::string output, accept_changed;
  bool force = false;
};

// Adds the weights of an adapter, in float64, to the sums by name.
void add_weights(const Checkpoint& checkpoint, std::map<std::string, at::Tensor>& sums,
                 std::map<std::string, at::ScalarType>& dtypes) {
  const bool is_first = sums.empty();
  const auto tensors = checkpoint.state(training::kAdapterState).tensors;
  base::require<base::CheckpointError>(!tensors.empty() && (is_first || tensors.size() == sums.size()), "'",
                                       checkpoint.folder().string(), "' has ", tensors.size(), " adapter tensors, ",
                                       "the checkpoints before it have ", sums.size());
  for (const auto& [name, state] : tensors) {
    const at::Tensor value = from_state(state);
    base::require<base::CheckpointError>(value.is_floating_point(), "'", checkpoint.folder().string(), "': ", name,
                                         " is no floating-point tensor and has no mean");
    if (is_first) {
      dtypes[name] = value.scalar_type();
      sums[name] = value.to(at::kDouble);
      continue;
    }
    const auto sum = sums.find(name);
    base::require<base::CheckpointError>(
        sum != sums.end() && sum->second.sizes() == value.sizes() && dtypes.at(name) == value.scalar_type(), "'",
        checkpoint.folder().string(), "': ", name, " is not in the first checkpoint, or has another shape or dtype");
    sum->second.add_(value.to(at::kDouble));
  }
}

// Weights that another recipe has made have no mean that is any model's.
void require_same_recipe(const Checkpoint& checkpoint, const Checkpoint& first, const std::set<std::string>& accepted) {
  const std::map<std::string, std::string> changed = training::changed_identity(
      first.contains("identity") ? first.state("identity") : base::StateDict(),
      checkpoint.contains("identity") ? checkpoint.state("identity") : base::StateDict(), accepted);
  std::string keys, texts;
  for (const auto& [key, text] : changed) {
    keys += (keys.empty() ? "" : ",") + key;
    texts += (texts.empty() ? "" : "; ") + text;
  }
  base::require<base::CheckpointError>(changed.empty(), "'", checkpoint.folder().string(),
                                       "' is of another recipe than '", first.folder().string(), "': ", texts,
                                       ". To average them all the same, add --accept-changed ", keys);
}

int run_average(const AverageOptions& options) {
  const std::set<std::string> accepted = parse_accepted(options.accept_changed);
  const std::vector<fs::path> paths = checkpoint_paths(options.inputs);
  std::set<fs::path> different;
  for (const fs::path& path : paths) {
    base::require<base::ConfigError>(different.insert(fs::weakly_canonical(path)).second, "'", path.string(),
                                     "' is named twice, and would count twice");
  }
  const fs::path output = output_path(options.output);
  std::vector<fs::path> folders = paths;  // and what is beside checkpoints/ in their runs
  for (const fs::path& path : paths) folders.push_back(fs::weakly_canonical(path).parent_path().parent_path());
  check_output(
      {.option = "-o", .path = output, .kind = OutputKind::adapter, .folders = folders, .force = options.force});
  std::map<std::string, at::Tensor> sums;
  std::map<std::string, at::ScalarType> dtypes;
  std::optional<Checkpoint> first;
  for (const fs::path& path : paths) {
    Checkpoint checkpoint = training::open_checkpoint(path);
    base::require<base::CheckpointError>(!checkpoint.contains(training::kBaseState), "'", path.string(),
                                         "' holds trained weights of the base model beside the adapters "
                                         "(train.trainable_base): there is no mean of these");
    base::require<base::CheckpointError>(!checkpoint.contains(training::kLoraState), "'", path.string(),
                                         "' holds a low-rank adaptation beside the adapters (lora.rank): the mean of "
                                         "its factors is not that of their products");
    if (first) require_same_recipe(checkpoint, *first, accepted);
    add_weights(checkpoint, sums, dtypes);
    if (!first) first = std::move(checkpoint);
  }
  std::map<std::string, base::TensorView> views;
  for (auto& [name, sum] : sums) {
    sum = sum.div(static_cast<double>(paths.size())).to(dtypes.at(name));
    views[name] = view_bytes(sum);
  }
  base::write_safetensors(output, views);
  messages_beside(output) << base::printable(output.string()) << ": the mean of " << paths.size() << " checkpoints, "
                          << views.size() << " tensors" << std::endl;
  return kExitOk;
}

}  // namespace

void add_checkpoint_command(CLI::App& program, Action& action) {
  CLI::App* checkpoint = program.add_subcommand("checkpoint", "Lists, verifies, shows and averages checkpoints.");
  checkpoint->require_subcommand(1);

  CLI::App* list = checkpoint->add_subcommand("list", "The checkpoints of a run: step, size, evaluation, state.");
  const auto folder = std::make_shared<std::string>();
  list->add_option("RUN", *folder, "run folder")->required()->check(CLI::ExistingDirectory);
  list->footer("Example:\n  rosa checkpoint list runs/mine");
  list->callback([&action, folder] { action = [folder] { return run_list(*folder); }; });

  CLI::App* verify = checkpoint->add_subcommand("verify", "Compares every byte with the manifest; exit code 4 if not.");
  const auto paths = std::make_shared<std::vector<std::string>>();
  verify->add_option("PATH", *paths, kPathsHelp)->required();
  verify->footer(
      "Examples:\n  rosa checkpoint verify runs/mine\n"
      "  rosa checkpoint verify runs/mine step_00002000");
  verify->callback([&action, paths] { action = [paths] { return run_verify(*paths); }; });

  CLI::App* show = checkpoint->add_subcommand("show", "Everything of a checkpoint but the numbers in its tensors.");
  const auto shown = std::make_shared<std::vector<std::string>>();
  show->add_option("PATH", *shown, "a checkpoint, or a run folder for its newest whole one, or with a name behind it")
      ->required()
      ->expected(1, 2);
  show->footer("Examples:\n  rosa checkpoint show runs/mine\n  rosa checkpoint show runs/mine step_00002000");
  show->callback([&action, shown] { action = [shown] { return run_show(*shown); }; });

  CLI::App* average = checkpoint->add_subcommand("average", "Writes the mean of the adapter weights of checkpoints.");
  const auto options = std::make_shared<AverageOptions>();
  average->add_option("PATH", options->inputs, kPathsHelp)->required();
  average->add_option("-o,--output", options->output, "adapter.safetensors to write; - is standard output")->required();
  add_accept_changed_option(*average, options->accept_changed);
  average->add_flag("--force", options->force, "replaces a file that does not hold adapter weights");
  average->footer(
      "Use the file as train.init_from, or score it:\n"
      "  rosa checkpoint average runs/mine -o mean.safetensors\n"
      "  rosa eval runs/mine --checkpoint mean.safetensors");
  average->callback([&action, options] { action = [options] { return run_average(*options); }; });
}

}  // namespace rosa::launch
