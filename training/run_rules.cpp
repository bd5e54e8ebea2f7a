#include "training/run_rules.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "models/adapter.h"
#include "models/causal_model.h"
#include "parallel/micro_batch_tree.h"
#include "text/tokenizer.h"
#include "training/alignment.h"
#include "training/lora.h"
#include "training/optimizer.h"
#include "training/tokenizer_rules.h"
#include "training/trained_base.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::concat;

double bytes_of_host() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double num_elements(const std::map<std::string, std::vector<int64_t>>& shapes) {
  double total = 0;
  for (const auto& [name, shape] : shapes) {
    total += std::accumulate(shape.begin(), shape.end(), 1.0,
                             [](double product, int64_t size) { return product * static_cast<double>(size); });
  }
  return total;
}

// Whether there can be adapters. `found` gets what check(RunConfig) does not tell.
bool adapters_fit(base::ConfigProblems& found, const RunConfig& config, const models::ModelConfig& model) {
  base::ConfigProblems own;
  own.section("adapter", config.adapter);
  if (own.empty()) found.section("adapter", config.adapter, model);
  return own.empty() && found.empty();
}

void check_windows(base::ConfigProblems& problems, const StudentSection& student, int64_t num_layers) {
  problems.require(student.layer_windows.empty() || static_cast<int64_t>(student.layer_windows.size()) == num_layers,
                   {"student.sliding_window"}, "lists ", student.layer_windows.size(), " windows, the model has ",
                   num_layers, " layers; give one number for each, or one for all");
  for (const int64_t layer : student.global_layers) {
    problems.require(layer < num_layers, {"student.global_layers"}, "names layer ", layer,
                     ", the model has layers 0 to ", num_layers - 1);
  }
}

// Weights, and of what is trained gradients and two moments too. Where config.json speaks of more weights than the
// files can hold, whoever loads them says so.
void check_memory(base::ConfigProblems& problems, const RunConfig& config, Objective objective,
                  const models::ModelConfig& model, double num_adapter_weights) {
  constexpr double kBytesTrained = 4 * sizeof(float);
  const double bytes_of_base = config.model.compute_dtype == "bfloat16" ? 2 : sizeof(float);
  const double base =
      models::num_parameters(model) * (objective == Objective::pretrain ? kBytesTrained : bytes_of_base);
  const double adapters = num_adapter_weights * kBytesTrained;
  const auto gigabytes = [](double bytes) { return std::round(bytes / 1e8) / 10; };
  const bool adapters_are_it = adapters > base;
  problems.require(base + adapters <= bytes_of_host(),
                   {adapters_are_it ? "adapter.num_heads" : "model.folder", "adapter.layers", "model.architecture"},
                   "a rank needs about ", gigabytes(base), " GB for the base model and ", gigabytes(adapters),
                   " GB for the adapters with gradients and optimiser, but this host has ", gigabytes(bytes_of_host()),
                   " GB");
}

// One more than the greatest token id of a tokenizer that lies in a model's folder (tokenizer.json, vocab.json); 0
// where there is none that can be read.
int64_t tokenizer_size(const fs::path& folder) {
  constexpr int64_t kMaxBytes = int64_t{1} << 26;
  int64_t size = 0;
  const auto count = [&size](const nlohmann::json& id) {
    if (id.is_number_unsigned()) size = std::max(size, id.get<int64_t>() + 1);
  };
  for (const char* name : {"tokenizer.json", "vocab.json"}) {
    const fs::path path = folder / name;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) continue;
    try {
      const auto json = nlohmann::json::parse(base::read_file(path, kMaxBytes), nullptr, /*allow_exceptions=*/false);
      if (!json.is_object()) continue;
      const auto model = json.find("model");
      const bool is_whole = model != json.end() && model->is_object() && model->contains("vocab");
      const bool is_vocabulary = path.filename() == "vocab.json";
      const nlohmann::json vocabulary = is_vocabulary ? json : is_whole ? model->at("vocab") : nlohmann::json();
      if (vocabulary.is_object()) {
        for (const auto& id : vocabulary) count(id);
      }
      if (const auto added = json.find("added_tokens"); added != json.end() && added->is_array()) {
        for (const auto& token : *added) {
          if (token.is_object() && token.contains("id")) count(token.at("id"));
        }
      }
    } catch (const base::Error&) {
      continue;  // too long, or unreadable: nothing is known then
    }
    if (size > 0) return size;
  }
  return size;
}

std::string tokenizer_warning(const RunConfig& config, const models::ModelConfig& model, int64_t data_vocabulary) {
  if (config.model.folder.empty() || config.model.from_scratch) return "";
  const int64_t size = tokenizer_size(config.model.folder);
  if (size > model.vocab_size) {
    return concat("the tokenizer in ", base::printable(config.model.folder), " has token ids up to ", size - 1,
                  ", but the model's vocab_size is ", model.vocab_size, ": do they belong together?");
  }
  if (size > 0 && data_vocabulary > size && data_vocabulary != model.vocab_size) {
    return concat("the data has a vocabulary of ", data_vocabulary, " tokens, but the tokenizer in ",
                  base::printable(config.model.folder), " has ", size, ": was it packed with another tokenizer?");
  }
  return "";
}

std::string same_file_warning(const RunConfig& config) {
  const std::string &train = config.data.train_path, &held_out = config.data.held_out_path;
  std::error_code error;
  if (train.empty() || held_out.empty() || !fs::equivalent(train, held_out, error)) return "";
  return concat("data.held_out_path is the file that is trained on (", base::printable(train),
                "): evaluations will not show what the model makes of unseen text");
}

// A file or folder that a key names can't be used.
struct TroubleWithFile {
  base::ConfigProblem problem;
  std::exception_ptr error;
};

// The error as it is, with the place of the key before its text.
[[noreturn]] void rethrow(const TroubleWithFile& trouble, const base::ConfigOrigin& origin) {
  const std::string text = base::placed(trouble.problem, origin.sources).text;
  try {
    std::rethrow_exception(trouble.error);
  } catch (const base::DataError&) {
    throw base::DataError(text);
  } catch (const base::FileError&) {
    throw base::FileError(text);
  }
}

}  // namespace

void check_objective(base::ConfigProblems& problems, const RunConfig& config, Objective objective) {
  if (objective == Objective::distill) {
    problems.require(!config.model.from_scratch || !config.model.folder.empty(), {"model.folder"},
                     "is empty: name the Hugging Face folder of the base model (from_scratch is for rosa pretrain)");
    return;
  }
  problems.require(config.model.compute_dtype == "float32", {"model.compute_dtype"}, "is ", config.model.compute_dtype,
                   ", but weights that are trained must be float32");
  problems.require(config.loss.distill_alpha == 0.0, {"loss.distill_alpha"}, "is ", config.loss.distill_alpha,
                   ", but pretraining has no teacher: set it to 0");
  problems.require(config.loss.alignment == 0.0, {"loss.alignment"},
                   "compares with a teacher's layers, but pretraining has no teacher; remove it");
  problems.require(!config.loss.has_code_losses(), {"loss.code_balance", "loss.code_consistency"},
                   "is a loss on what adapters retrieve by, but pretraining has none; set it to 0");
  problems.require(config.train.trainable_base.empty(), {"train.trainable_base"},
                   "is for training beside adapters; pretraining trains what train.trainable names");
  problems.require(config.lora.rank == 0, {"lora.rank"}, "is ", config.lora.rank,
                   ", but pretraining trains the weights themselves: set it to 0");
  problems.require(config.teacher.folder.empty(), {"teacher.folder"}, "is ", base::printable(config.teacher.folder),
                   ", but pretraining has no teacher; remove it");
  problems.require(config.train.init_from.empty(), {"train.init_from"}, "is ", config.train.init_from,
                   ", but pretraining has no adapters to start from it; remove it, and name the weights of a base "
                   "model in model.folder");
}

models::ModelConfig model_config_of(const RunConfig& config, Objective objective) {
  if (objective == Objective::pretrain && config.model.from_scratch) return config.model.architecture;
  base::require<base::ConfigError>(!config.model.folder.empty(),
                                   "model.folder is empty: name the Hugging Face folder of the base model");
  return models::load_model_config(config.model.folder);
}

std::optional<models::ModelConfig> teacher_config_of(const RunConfig& config) {
  if (config.teacher.folder.empty()) return std::nullopt;
  return models::load_model_config(config.teacher.folder);
}

void check_teacher(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model,
                   const models::ModelConfig& teacher) {
  problems.require(teacher.vocab_size == model.vocab_size, {"teacher.folder", "model.folder"}, "the teacher in ",
                   base::printable(config.teacher.folder), " has a vocabulary of ", teacher.vocab_size,
                   " tokens, the base model in ", base::printable(config.model.folder), " one of ", model.vocab_size,
                   "; a student learns token by token, so both must be equal");
  check_alignment_with(problems, config, model, teacher);
  const auto has_tokenizer = [](const std::string& folder) {
    std::error_code error;
    return fs::exists(fs::path(folder) / "tokenizer.json", error);
  };
  if (!has_tokenizer(config.teacher.folder) || !has_tokenizer(config.model.folder)) return;
  const uint64_t of_teacher = text::load_tokenizer(config.teacher.folder)->fingerprint();
  const uint64_t of_model = text::load_tokenizer(config.model.folder)->fingerprint();
  problems.require(of_teacher == of_model, {"teacher.folder", "model.folder"}, "the tokenizer of the teacher in ",
                   base::printable(config.teacher.folder), " has the fingerprint ", base::to_hex(of_teacher),
                   ", that of the base model in ", base::printable(config.model.folder), " ", base::to_hex(of_model),
                   "; their token ids mean different words");
}

std::vector<std::string> trainable_names(const RunConfig& config, Objective objective,
                                         const models::ModelConfig& model) {
  std::vector<std::string> names;
  const auto shapes = objective == Objective::pretrain
                          ? models::parameter_shapes(model)
                          : models::adapter_parameter_shapes(models::resolve(config.adapter, model), model);
  for (const auto& [name, shape] : shapes) names.push_back(name);
  if (objective == Objective::distill) {
    for (const std::string& name : trained_base_names(config.train, model)) names.push_back(name);
    for (const auto& [name, shape] : lora_shapes(config.lora, model)) names.push_back(name);
  }
  return names;
}

namespace {

// What does not go with weights that the ranks share out.
void check_shared_weights(base::ConfigProblems& problems, const RunConfig& config, Objective objective) {
  if (config.parallel.shard_base == "none") return;
  problems.require(objective == Objective::distill, {"parallel.shard_base"}, "is ", config.parallel.shard_base,
                   ", but pretraining trains the base model, and only frozen weights are shared out; set it to none");
  problems.require(!trains_base(config.train), {"parallel.shard_base", "train.trainable_base"}, "is ",
                   config.parallel.shard_base,
                   ", but train.trainable_base trains weights of the base model, and only frozen ones are shared out; "
                   "set it to none, or take lora.rank in the place of train.trainable_base");
  problems.require(config.evaluation.samples == 0, {"parallel.shard_base", "evaluation.samples"}, "is ",
                   config.parallel.shard_base,
                   ", but evaluation.samples lets each rank write texts of its own, and a shared-out layer is gathered "
                   "by all; set evaluation.samples to 0 and run rosa generate on a checkpoint");
  problems.require(config.evaluation.suite.empty(), {"parallel.shard_base", "evaluation.suite"}, "is ",
                   config.parallel.shard_base,
                   ", but in evaluation.suite each rank has tasks of its own, and a shared-out layer is gathered by "
                   "all; remove evaluation.suite and run rosa eval --suite on a checkpoint");
}

}  // namespace

void check_sizes_with_model(base::ConfigProblems& problems, const RunConfig& config, Objective objective,
                            const models::ModelConfig& model, int world_size) {
  try {
    parallel::owned_micro_batches(config.train.micro_batches, /*rank=*/0, world_size);
  } catch (const base::ConfigError& error) {
    problems.add({"train.micro_batches"}, error.what());
  }
  if (objective == Objective::distill) {
    check_windows(problems, config.student, model.num_hidden_layers);
    base::ConfigProblems found;
    if (!adapters_fit(found, config, model)) return problems.add_all(found);  // there are no names then
  }
  problems.require(config.loss.top_k <= model.vocab_size, {"loss.top_k"}, "is ", config.loss.top_k,
                   ", but the model knows only ", model.vocab_size, " tokens");
  const bool distills = objective == Objective::distill;
  if (distills) check_alignment(problems, config, model);
  if (distills) check_base_patterns(problems, config.train, model);
  if (distills) check_lora(problems, config, model);
  check_shared_weights(problems, config, objective);
  const std::vector<std::string> patterns = trained_patterns(config, objective, model);
  if (patterns.empty() && !config.train.trainable.empty()) {
    problems.add({"train.trainable", "adapter.estimator", "adapter.query_key_gradient"},
                 "names projections alone that no gradient reaches: they make fixed hashes (adapter.estimator none, or "
                 "adapter.query_key_gradient false)");
  } else {
    check_patterns(problems, trainable_names(config, objective, model), patterns, config.optimizer);
  }
  if (distills && problems.all().empty()) check_alignment_learns(problems, config, model);
}

void check_with_model(base::ConfigProblems& problems, const RunConfig& config, Objective objective,
                      const models::ModelConfig& model, int world_size) {
  check_sizes_with_model(problems, config, objective, model, world_size);
  double num_adapter_weights = 0;
  if (objective == Objective::distill) {
    base::ConfigProblems told;
    if (!adapters_fit(told, config, model)) return;
    num_adapter_weights =
        num_elements(models::adapter_parameter_shapes(models::resolve(config.adapter, model), model)) +
        num_elements(lora_shapes(config.lora, model));
  }
  check_memory(problems, config, objective, model, num_adapter_weights);
}

void check_with_data(base::ConfigProblems& problems, const DataConfig& config, const DataSource& data, const char* key,
                     const models::ModelConfig& model) {
  // The key that decides the size stands first.
  std::vector<std::string> keys = {key, "data.vocabulary_size"};
  if (config.vocabulary_size > 0) keys = {"data.vocabulary_size", key};
  if (config.vocabulary_size == 0 && config.kind == DataKind::phrases) keys = {"data.alphabet_size"};
  problems.require(data.vocabulary_size() <= model.vocab_size, keys, "the data has a vocabulary of ",
                   data.vocabulary_size(), " tokens, but the model knows only ", model.vocab_size);
}

void require_finite(const std::map<std::string, at::Tensor>& parameters, const std::string& where) {
  constexpr int64_t kMaxNamed = 3;
  const at::NoGradGuard no_grad;
  std::string text;
  int64_t num_tensors = 0;
  for (const auto& [name, tensor] : parameters) {
    // A sum is finite where all are, and takes no memory; it may overflow, so a second look follows.
    if (at::isfinite(tensor.sum()).item<bool>()) continue;
    const at::Tensor wrong = at::isfinite(tensor).logical_not();
    const auto num_wrong = wrong.sum().item<int64_t>();
    if (num_wrong == 0 || ++num_tensors > kMaxNamed) continue;
    std::string place;
    const at::Tensor first = wrong.nonzero()[0].cpu();
    for (int64_t i = 0; i < first.numel(); ++i) place += concat(i == 0 ? "" : ",", first[i].item<int64_t>());
    text += concat(text.empty() ? "" : "; ", "'", name, "' holds ", num_wrong, " of ", tensor.numel(),
                   ", the first at [", place, "]");
  }
  if (num_tensors > kMaxNamed) text += concat("; and ", num_tensors - kMaxNamed, " more tensors");
  base::require<base::NumericError>(num_tensors == 0, "weights of ", base::printable(where), " are not finite: ", text,
                                    "; take another copy of them");
}

std::vector<std::string> run_warnings(const RunConfig& config, Objective objective, const models::ModelConfig& model,
                                      const DataSource& training_data) {
  std::vector<std::string> warnings;
  int64_t longest = 0;
  for (const DataStage& stage : stages(config.data)) longest = std::max(longest, stage.sequence_length);
  if (objective == Objective::distill && config.teacher.folder.empty() &&
      is_global(config.student, model.num_hidden_layers)) {
    warnings.push_back(
        "every layer of the student keeps global attention: it sees what the teacher sees, and there is nothing to "
        "learn (student.sliding_window, student.global_layers)");
  } else if (objective == Objective::distill && config.teacher.folder.empty() &&
             config.student.sliding_window >= longest) {
    warnings.push_back(concat("student.sliding_window is ", config.student.sliding_window,
                              ", which covers every sequence of ", longest,
                              " tokens: the student sees what the teacher sees, and there is nothing to learn"));
  }
  if (longest > model.max_position_embeddings) {
    warnings.push_back(concat("data.sequence_length is ", longest, ", but the model is meant for ",
                              model.max_position_embeddings, " positions (max_position_embeddings)"));
  }
  constexpr int64_t kBytes = 256, kManyWords = 1024;
  const int64_t vocabulary = training_data.vocabulary_size();
  // Where the data itself says what it is, a rule refuses it or a key accepts it.
  const bool has_rule = training_data.tokenizer() && (objective == Objective::distill || !config.model.from_scratch);
  if (!has_rule && vocabulary <= kBytes && model.vocab_size >= kManyWords) {
    warnings.push_back(concat("the data has token ids below ", vocabulary, " only, as bytes have, but the model knows ",
                              model.vocab_size, ": was the text packed without the model's tokenizer?"));
  }
  for (std::string warning : {tokenizer_warning(config, model, vocabulary), same_file_warning(config)}) {
    if (!warning.empty()) warnings.push_back(std::move(warning));
  }
  const ScheduleConfig& rate = config.schedules.learning_rate;
  if (rate.warmup_steps + rate.lag_steps >= config.train.num_steps) {
    warnings.push_back(concat("schedules.learning_rate warms up for ", rate.warmup_steps, " steps, but the run has ",
                              config.train.num_steps, ": it ends before the rate is reached"));
  }
  const bool maps_base = config.compute.device != "cuda" && model.dtype == config.model.compute_dtype;
  if (config.parallel.shard_base == "node" && maps_base) {
    warnings.push_back(
        concat("parallel.shard_base is node, but on a CPU the ranks of a host share one copy of weights that are ",
               model.dtype, " in their files: to share them out takes more memory, and time; set it to none"));
  }
  const int64_t steps_of_both = std::lcm(std::max<int64_t>(1, config.evaluation.every), config.checkpoint.every);
  if (config.checkpoint.keep_best > 0 && steps_of_both > config.train.num_steps) {
    warnings.push_back(concat("checkpoint.keep_best counts checkpoints of steps that are evaluated, but with ",
                              "checkpoint.every ", config.checkpoint.every, " and evaluation.every ",
                              config.evaluation.every, " no step of this run is both"));
  }
  return warnings;
}

std::vector<std::string> check_before_training(const RunConfig& config, Objective objective, int world_size,
                                               const base::ConfigOrigin& origin) {
  base::ConfigProblems problems;
  check(problems, config);
  check_objective(problems, config, objective);
  const bool is_loaded = objective == Objective::distill || !config.model.from_scratch;
  // What these throw is told after the rest, or by itself with its own exit code.
  std::optional<TroubleWithFile> trouble;
  std::optional<models::ModelConfig> model;
  std::unique_ptr<DataSource> training_data;
  const auto attempt = [&](const char* key, const auto& act) {
    try {
      act();
    } catch (const base::ConfigError&) {
      // Of a rule that is among the problems.
    } catch (const base::Error& error) {
      if (!trouble) trouble = TroubleWithFile{{{key}, error.what()}, std::current_exception()};
      if (!problems.empty()) problems.add({key}, error.what());
    }
  };
  attempt("model.folder", [&] {
    model = model_config_of(config, objective);
    if (is_loaded && !config.model.folder.empty()) models::CausalModel::check_files(config.model.folder);
    check_with_model(problems, config, objective, *model, world_size);
  });
  attempt("teacher.folder", [&] {
    if (config.teacher.folder.empty() || objective != Objective::distill) return;
    const models::ModelConfig teacher = *teacher_config_of(config);
    models::CausalModel::check_files(config.teacher.folder);
    if (model) check_teacher(problems, config, *model, teacher);
  });
  DataConfig data = config.data;
  data.verify_tokens = false;
  const int64_t samples = std::max<int64_t>(1, config.train.micro_batches * config.train.micro_batch_sequences);
  const auto seed = static_cast<uint64_t>(config.run.seed);
  std::optional<TokenizerRules> tokenizer;
  if (model) tokenizer.emplace(config, is_loaded, model->vocab_size);
  const auto check_data = [&](const DataSource& source, const char* key) {
    if (!model) return;
    check_with_data(problems, config.data, source, key, *model);
    const std::string trouble_of_tokenizer = tokenizer->trouble_with(source);
    problems.require(trouble_of_tokenizer.empty(), {key, "model.folder", "data.accept_other_tokenizer"},
                     trouble_of_tokenizer);
  };
  const char* const train_key = config.data.sources.empty() ? "data.train_path" : "data.sources";
  attempt(train_key, [&] {
    training_data = make_data_source(data, DataSplit::train, seed, samples);
    check_data(*training_data, train_key);
  });
  if (config.evaluation.every > 0) {
    attempt("data.held_out_path", [&] {
      const auto held_out = make_data_source(data, DataSplit::held_out, seed, samples);
      check_data(*held_out, "data.held_out_path");
    });
  }
  if (trouble && problems.empty()) rethrow(*trouble, origin);
  check_data_paths(problems, config);
  problems.throw_if_any(origin);
  return run_warnings(config, objective, *model, *training_data);
}

std::vector<std::string> check_stages(const Stages& stages, Objective objective, int world_size) {
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const Stage& stage = stages[i];
    in_stage(stages, i, [&] {
      for (const std::string& warning : check_before_training(stage.config, objective, world_size, stage.origin)) {
        // What holds of the whole run is told once.
        if (std::find(warnings.begin(), warnings.end(), warning) != warnings.end()) continue;
        warnings.push_back(i == 0 ? warning : base::concat(stage_title(stages, i), ": ", warning));
      }
    });
  }
  return warnings;
}

}  // namespace rosa::training
