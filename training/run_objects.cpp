#include "training/run_objects.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/printable.h"
#include "models/export.h"
#include "parallel/device.h"
#include "parallel/nccl_communicator.h"
#include "training/automaton_threads.h"
#include "training/checkpoint_store.h"
#include "training/lora.h"
#include "training/stages.h"
#include "training/tokenizer_rules.h"
#include "training/trained_base.h"
#include "training/weight_state.h"

namespace rosa::training {

namespace fs = std::filesystem;

void RunObjects::require_same_files() const {
  model->require_same_files();
  if (own_teacher) own_teacher->require_same_files();
}

std::string RunObjects::trouble_with_files() const {
  std::string trouble = model->trouble_with_files();
  return trouble.empty() && own_teacher ? own_teacher->trouble_with_files() : trouble;
}

RunParts RunObjects::parts(parallel::Communicator& communicator) const {
  return parts(communicator, *training_data, *held_out_data);
}

RunParts RunObjects::parts(parallel::Communicator& communicator, const DataSource& training,
                           const DataSource& held_out) const {
  std::vector<SharedLayers*> shared;
  for (const auto& layers : shared_layers) shared.push_back(layers.get());
  return {.model = *model,
          .adapters = adapters.get(),
          .training_data = training,
          .held_out_data = held_out,
          .communicator = device_communicator ? *device_communicator : communicator,
          .executor = *executor,
          .device = device,
          .own_teacher = own_teacher.get(),
          .shared_layers = shared};
}

namespace {

std::unique_ptr<DataSource> read_data(const RunConfig& config, DataSplit split, bool needed,
                                      const models::CausalModel& model, TokenizerRules& tokenizer) {
  const bool train = split == DataSplit::train;
  const std::string what = train ? "training data" : "held-out data";
  if (!needed) return std::make_unique<UnusedData>("there is no use for " + what);
  auto source = make_data_source(config.data, split, static_cast<uint64_t>(config.run.seed),
                                 config.train.micro_batches * config.train.micro_batch_sequences);
  base::require<base::ConfigError>(source->vocabulary_size() <= model.config().vocab_size, what,
                                   " has a vocabulary of ", source->vocabulary_size(),
                                   " tokens, but the model knows only ", model.config().vocab_size);
  const std::string trouble = tokenizer.trouble_with(*source);
  base::require<base::ConfigError>(trouble.empty(), train ? "data.train_path: " : "data.held_out_path: ", trouble);
  return source;
}

// An exported student, or whatever else holds a whole model.
bool is_model_folder(const fs::path& folder) {
  return fs::exists(folder / "model.safetensors") || fs::exists(folder / "model.safetensors.index.json");
}

fs::path adapter_file(const fs::path& source) {
  base::require<base::FileError>(fs::exists(source), "train.init_from: '", source.string(), "' does not exist");
  if (!fs::is_directory(source)) return source;
  if (fs::exists(source / kAdapterFile)) return source / kAdapterFile;
  if (is_model_folder(source)) return source;
  const auto newest = CheckpointStore(source / "checkpoints").newest_complete();
  base::require<base::ConfigError>(newest.has_value(), "train.init_from: ", source.string(), " holds no ", kAdapterFile,
                                   ", no model.safetensors and no checkpoints");
  return newest->folder() / kAdapterFile;
}

// What weights belong to, beside which they would be scored wrongly without a word.
IdentityFields fields_of_weights(const RunConfig& config, const std::string& stage, const DataSource& held_out_data,
                                 bool compare_held_out) {
  IdentityFields fields;
  fields.values = model_contents(config.model.folder);
  for (const auto& [key, value] : recipe_values(config)) {
    const bool decides = key.starts_with("adapter.") || key.starts_with("student.") || key.starts_with("model.") ||
                         key.starts_with("lora.");
    if (decides) fields.values[key_in_stage(stage, key)] = value;
  }
  if (!compare_held_out || held_out_data.content().empty()) return fields;
  fields.values["held_out_data"] = held_out_data.content();
  fields.earlier_form["held_out_data"] = held_out_data.fingerprint();
  return fields;
}

void compare_identity(const Checkpoint& checkpoint, IdentityFields fields, const WeightsComparison& comparison) {
  RunIdentity identity(std::move(fields), comparison.accepted, "else put back what was there, or leave out --set");
  if (comparison.read_recipe) identity.set_known(comparison.read_recipe(checkpoint.folder() / "config.yaml"));
  checkpoint.load({{"identity", &identity}});
  for (const std::string& change : identity.accepted_changes()) base::log_warning("accepted a change: " + change);
}

}  // namespace

DataNeeds needs_of_training(const RunConfig& config) {
  return {.training = true, .held_out = config.evaluation.every > 0, .teacher = true};
}

RunData open_data(const RunConfig& config, const models::CausalModel& model, const DataNeeds& needs) {
  TokenizerRules tokenizer(config, /*has_folder=*/true, model.config().vocab_size);
  RunData data;
  data.training = read_data(config, DataSplit::train, needs.training, model, tokenizer);
  data.held_out = read_data(config, DataSplit::held_out, needs.held_out, model, tokenizer);
  return data;
}

RunObjects build_run(const RunConfig& config, Objective objective, parallel::Communicator& communicator) {
  return build_run(config, objective, communicator, needs_of_training(config));
}

namespace {

// ... and what of the base is trained beside them.
void build_adapters(const RunConfig& config, const DataNeeds& needs, RunObjects& objects) {
  const std::vector<std::string> trained = trained_base_names(config.train, objects.model->config());
  if (!trained.empty()) {
    // What is learnt from stays what it was.
    if (needs.teacher && !objects.own_teacher) {
      objects.own_teacher = std::make_unique<models::CausalModel>(frozen_view(*objects.model));
    }
    make_trainable(*objects.model, trained);
  }
  objects.adapters = std::make_unique<models::AdapterSet>(config.adapter, objects.model->config(),
                                                          static_cast<uint64_t>(config.run.seed));
  add_lora(config, objects.model->config(), *objects.adapters);
  const auto move = [&](std::map<std::string, at::Tensor>& weights) {
    for (auto& [name, tensor] : weights) tensor = tensor.detach().to(objects.device).set_requires_grad(true);
  };
  move(objects.adapters->parameters());
  if (models::LowRank* low_rank = objects.adapters->low_rank()) move(low_rank->parameters());
}

}  // namespace

RunObjects build_run(const RunConfig& config, Objective objective, parallel::Communicator& communicator,
                     const DataNeeds& needs) {
  at::set_num_threads(static_cast<int>(config.compute.threads));
  RunObjects objects;
  communicator.set_debug_mode(config.parallel.debug_collectives);
  communicator.set_timeout(config.parallel.collective_timeout_s);
  objects.device = parallel::select_device(config.compute.device, communicator);
  if (objects.device.is_cuda()) at::globalContext().setAllowTF32CuBLAS(config.compute.tf32);
  objects.device_communicator = parallel::make_device_communicator(communicator, objects.device);
  if (objects.device_communicator) {
    objects.device_communicator->set_debug_mode(config.parallel.debug_collectives);
    objects.device_communicator->set_timeout(config.parallel.collective_timeout_s);
  }
  const bool from_scratch = objective == Objective::pretrain && config.model.from_scratch;
  base::require<base::ConfigError>(from_scratch || !config.model.folder.empty(),
                                   "model.folder is empty: name the Hugging Face folder of the base model");
  const auto seed = static_cast<uint64_t>(config.run.seed);
  // Pretraining changes the weights in place.
  const models::WeightStorage storage =
      objective == Objective::pretrain ? models::WeightStorage::owned : models::WeightStorage::mapped;
  objects.model = std::make_unique<models::CausalModel>(
      from_scratch ? models::CausalModel::random(config.model.architecture, seed)
                   : models::CausalModel::load(config.model.folder, config.model.compute_dtype, storage));
  if (!from_scratch) require_finite(objects.model->parameters(), config.model.folder);
  // Only what is trained on is shared out: elsewhere ranks go their own ways.
  const auto share_out = [&](models::CausalModel& model, const char* name) {
    if (config.parallel.shard_base == "none" || !needs.training) return;
    parallel::Communicator& ranks = objects.device_communicator ? *objects.device_communicator : communicator;
    auto shared = share_layers(model, ranks, config.parallel.shard_base, name, objects.device);
    if (shared) objects.shared_layers.push_back(std::move(shared));
  };
  share_out(*objects.model, "base model");
  objects.model->move_to(objects.device);
  if (objective == Objective::distill) {
    base::ConfigProblems problems;
    check_estimator(problems, config);
    if (needs.teacher && !config.teacher.folder.empty()) {
      objects.own_teacher = std::make_unique<models::CausalModel>(
          models::CausalModel::load(config.teacher.folder, teacher_dtype(config), models::WeightStorage::mapped));
      require_finite(objects.own_teacher->parameters(), config.teacher.folder);
      share_out(*objects.own_teacher, "teacher");
      objects.own_teacher->move_to(objects.device);
      check_teacher(problems, config, objects.model->config(), objects.own_teacher->config());
    }
    problems.throw_if_any();
    if (needs.adapters) build_adapters(config, needs, objects);
  }
  TokenizerRules tokenizer(config, !from_scratch, objects.model->config().vocab_size);
  objects.training_data = read_data(config, DataSplit::train, needs.training, *objects.model, tokenizer);
  objects.held_out_data = read_data(config, DataSplit::held_out, needs.held_out, *objects.model, tokenizer);
  objects.executor = std::make_unique<HostExecutor>(num_automaton_threads(config.compute, communicator));
  return objects;
}

namespace {

constexpr size_t kMaxNamesShown = 4;
constexpr int64_t kMaxExportedConfigBytes = 1 << 24;

// What an export says of its adapters that shapes do not tell: twice as many heads of half as many bits have the same
// shapes.
void check_exported_adapters(const RunConfig& config, const fs::path& folder) {
  for (const char* name : {models::kAdapterConfigFile, "config.json"}) {
    if (!fs::is_regular_file(folder / name)) continue;
    const nlohmann::json json = base::read_json(folder / name, kMaxExportedConfigBytes);
    const base::JsonFields fields(json, (folder / name).string());
    for (const auto& [key, own] : {std::pair{"rosa_query_key_bits", config.adapter.query_key_bits},
                                   {"rosa_value_bits", config.adapter.value_bits}}) {
      const auto exported = fields.integer(key);
      base::require<base::ConfigError>(!exported || *exported == own, "train.init_from: ", (folder / name).string(),
                                       ": ", key, " is ", exported.value_or(0), ", this run has adapter.",
                                       std::string_view(key).substr(5), " ", own);
    }
    const std::string form = models::exported_form(fields), own_form = models::adapter_form(config.adapter);
    base::require<base::ConfigError>(form == own_form, "train.init_from: ", (folder / name).string(),
                                     ": its adapters have ", form.empty() ? "place=attention" : form, ", this run's ",
                                     own_form.empty() ? "place=attention" : own_form,
                                     " (adapter.place, mixed_queries, candidates, output_scale)");
  }
}

}  // namespace

void load_start_weights(const RunConfig& config, models::AdapterSet& adapters) {
  const fs::path path = adapter_file(config.train.init_from);
  if (fs::exists(path.parent_path() / kManifestFile)) {
    // What shapes do not tell: twice as many heads of half as many bits have the same.
    const auto recorded = Checkpoint(path.parent_path()).state("identity").values;
    const auto own = recipe_values(config), earlier = recipe_values(earlier_defaults({}));
    for (const char* key : {"adapter.query_key_bits", "adapter.value_bits", "adapter.place", "adapter.mixed_queries",
                            "adapter.candidates", "adapter.output_scale"}) {
      const auto found = recorded.find(key);
      const bool is_of_form = !std::string_view(key).ends_with("_bits");
      if (found == recorded.end() && !is_of_form) continue;  // of an earlier version
      const auto* text = found == recorded.end() ? &earlier.at(key) : std::get_if<std::string>(&found->second);
      base::require<base::ConfigError>(text != nullptr && *text == own.at(key), "train.init_from: ", path.string(),
                                       " was trained with ", key, " ", text == nullptr ? "" : *text, ", this run has ",
                                       own.at(key));
    }
  }
  if (fs::exists(path.parent_path() / kManifestFile)) {
    const Checkpoint source(path.parent_path());
    for (const auto& [state, what] : {std::pair{kBaseState, "trained weights of the base model (train.trainable_base)"},
                                      {kLoraState, "a low-rank adaptation of the base model (lora.rank)"}}) {
      if (!source.contains(state)) continue;
      base::log_warning(base::concat("train.init_from: ", base::printable(source.folder().string()), " holds ", what,
                                     " beside the adapters, which is not taken: only these start from it"));
    }
  }
  check_exported_adapters(config, fs::is_directory(path) ? path : path.parent_path());
  const std::vector<std::string> unused = adapters.load_from_student(path);
  if (unused.empty()) return;
  std::string names;
  for (size_t i = 0; i < std::min(unused.size(), kMaxNamesShown); ++i) {
    names += base::concat(i > 0 ? ", " : "", base::excerpt(unused[i]));
  }
  if (unused.size() > kMaxNamesShown) names += base::concat(" and ", unused.size() - kMaxNamesShown, " more");
  base::log_info(base::concat("train.init_from: ", base::printable(path.string()), ": ", unused.size(),
                              " tensors belong to no adapter and are not used: ", names));
}

namespace {

// Into the model, in its compute dtype.
void load_trained_base(const RunConfig& config, const Checkpoint& checkpoint, models::CausalModel& model) {
  const NamedTensors weights = trained_base(config.train, model);
  base::require<base::CheckpointError>(checkpoint.contains(kBaseState) == !weights.empty(), "'",
                                       checkpoint.folder().string(), "' holds ",
                                       weights.empty() ? "trained weights of the base model" : "adapters alone",
                                       ", and train.trainable_base says something else");
  if (weights.empty()) return;
  WeightState state(weights);
  checkpoint.load({{kBaseState, &state}});
  require_finite(weights, checkpoint.folder().string());
  for (const auto& [name, weight] : weights) {
    model.parameters().at(name) = weight.to(model.compute_options().dtype().toScalarType());
  }
}

void load_lora(const Checkpoint& checkpoint, models::AdapterSet& adapters) {
  const NamedTensors weights = lora_weights(&adapters);
  base::require<base::CheckpointError>(checkpoint.contains(kLoraState) == !weights.empty(), "'",
                                       checkpoint.folder().string(), "' holds ",
                                       weights.empty() ? "a low-rank adaptation beside the adapters" : "adapters alone",
                                       ", and lora.rank says something else");
  if (weights.empty()) return;
  WeightState state(weights);
  checkpoint.load({{kLoraState, &state}});
  require_finite(weights, checkpoint.folder().string());
}

}  // namespace

int64_t load_trained_weights(const RunConfig& config, RunObjects& objects, const WeightsComparison& comparison) {
  const std::string& named = config.checkpoint.resume;
  const CheckpointStore store(fs::path(config.run.folder) / "checkpoints");
  IdentityFields fields = fields_of_weights(config, comparison.stage, *objects.held_out_data, comparison.held_out_data);
  if (objects.own_teacher && !config.teacher.folder.empty())
    fields.values["teacher"] = model_contents(config.teacher.folder).at("model");
  if (fs::is_regular_file(named)) {
    const auto newest = store.newest_complete();
    base::require<base::ConfigError>(!trains_base(config.train), "'", named,
                                     "' holds adapters alone, but the run has trained weights of the base model, too "
                                     "(train.trainable_base); name a checkpoint");
    base::require<base::ConfigError>(config.lora.rank == 0, "'", named,
                                     "' holds adapters alone, but the run has a low-rank adaptation of the base model, "
                                     "too (lora.rank); name a checkpoint");
    if (newest) compare_identity(*newest, std::move(fields), comparison);
    objects.adapters->load(named);
    require_finite(objects.adapters->parameters(), named);
    return 0;
  }
  std::optional<Checkpoint> checkpoint;
  if (named != "auto" && named != "none") {
    checkpoint.emplace(named);
  } else {
    checkpoint = store.newest_complete();
    base::require<base::CheckpointError>(checkpoint.has_value(), "no complete checkpoint in ", config.run.folder,
                                         "; has the run been trained?");
  }
  compare_identity(*checkpoint, std::move(fields), comparison);
  objects.adapters->load(checkpoint->folder() / kAdapterFile);
  load_trained_base(config, *checkpoint, *objects.model);
  load_lora(*checkpoint, *objects.adapters);
  // A sign hides a NaN: the scores would look right.
  require_finite(objects.adapters->parameters(), (checkpoint->folder() / kAdapterFile).string());
  return checkpoint->manifest().info.step;
}

}  // namespace rosa::training
