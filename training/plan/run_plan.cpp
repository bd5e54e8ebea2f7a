#include "training/plan/run_plan.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>

#include "training/lora.h"
#include "training/plan/sizes.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

int64_t file_bytes(const std::string& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  return error ? 0 : static_cast<int64_t>(bytes);
}

bool reads_weights(const PlanInput& input) {
  return input.objective == Objective::distill || !input.config.model.from_scratch;
}

// By what config.json says of the files.
bool maps_weights(const PlanInput& input, const models::ModelConfig& model, const std::string& compute_dtype) {
  return input.objective == Objective::distill && !input.on_gpu && model.dtype == compute_dtype;
}

// The embedding, if not a matrix of the MLP.
int64_t largest_tensor_bytes(const models::ModelConfig& model) {
  return std::max(model.vocab_size, model.intermediate_size) * model.hidden_size * (model.dtype == "float32" ? 4 : 2);
}

// Texts are read whole; token files are mapped, and read whole where their checksum is compared.
int64_t data_bytes(const RunConfig& config) {
  if (config.data.kind == DataKind::phrases) return 0;
  if (config.data.kind == DataKind::token_file && !config.data.verify_tokens) return 0;
  std::set<std::string> paths = {config.data.train_path};
  for (const DataSourceEntry& entry : config.data.sources) paths.insert(entry.path);
  if (config.evaluation.every > 0) paths.insert(config.data.held_out_path);
  int64_t bytes = 0;
  for (const std::string& path : paths) bytes += path.empty() ? 0 : file_bytes(path);
  return bytes;
}

// One more than are kept: the next is whole before the oldest goes.
int64_t num_checkpoints(const RunConfig& config) {
  const int64_t every = config.checkpoint.every;
  const int64_t all = (config.train.num_steps + every - 1) / every;
  return config.checkpoint.keep_last > 0 ? std::min(all, config.checkpoint.keep_last + 1) : all;
}

MemoryPlan memory_of(const PlanInput& input) {
  const bool maps_base = maps_weights(input, input.model, input.config.model.compute_dtype);
  return plan_memory(
      {.config = input.config,
       .objective = input.objective,
       .model = input.model,
       .own_teacher = input.own_teacher,
       .world_size = input.num_ranks,
       .on_gpu = input.on_gpu,
       .automaton_threads = input.automaton_threads,
       .maps_base = maps_base,
       .maps_teacher =
           input.own_teacher != nullptr && maps_weights(input, *input.own_teacher, teacher_dtype(input.config)),
       .largest_tensor_bytes = reads_weights(input) && !maps_base ? largest_tensor_bytes(input.model) : 0,
       .data_bytes = data_bytes(input.config),
       .sharing_ranks = num_sharing_ranks(input.config.parallel, input.num_ranks, input.num_hosts)});
}

}  // namespace

RunPlan plan_run(const PlanInput& input) {
  const RunConfig& config = input.config;
  const RunSizes sizes(config, input.objective, input.model);
  const bool distills = input.objective == Objective::distill;
  const models::ModelConfig* teacher = input.own_teacher != nullptr ? input.own_teacher : &input.model;
  RunPlan plan;
  plan.num_base = sizes.num_base();
  plan.num_adapter = sizes.num_adapter();
  plan.num_lora = sizes.num_lora();
  plan.num_trained = sizes.num_trained();
  plan.sequences_per_step = config.train.micro_batches * config.train.micro_batch_sequences;
  plan.tokens_per_step = plan.sequences_per_step * config.data.sequence_length;
  FlopsInput flops{
      .model = input.model,
      .adapter = sizes.adapter(),
      .sequence_length = config.data.sequence_length,
      .sliding_window = distills ? config.student.sliding_window : 0,
      .layer_windows =
          distills ? windows_of_layers(config.student, input.model.num_hidden_layers) : std::vector<int64_t>(),
      .sink_tokens = config.student.sink_tokens,
      .teacher = distills && config.loss.has_teacher() ? teacher : nullptr,
      .low_rank = distills ? lora_shapes(config.lora, input.model) : std::map<std::string, std::vector<int64_t>>(),
      .trained = sizes.trained()};
  set_passes(flops, config.loss);
  plan.flops = token_flops(flops);
  plan.memory = memory_of(input);
  const parallel::FlatLayout layout = sizes.layout(input.num_ranks);
  plan.wire = wire_bytes({.layout = layout,
                          .config = config.parallel,
                          .micro_batches = config.train.micro_batches,
                          .num_hosts = input.num_hosts,
                          .on_gpu = input.on_gpu});
  plan.base_wire = base_wire_bytes(config, input.model, input.own_teacher, input.num_ranks, input.num_hosts);
  plan.wire.by_rank += plan.base_wire.by_rank;
  plan.wire.by_host += plan.base_wire.by_host;
  plan.checkpoint_bytes = plan.memory.saving * input.num_ranks;
  plan.num_checkpoints = num_checkpoints(config);
  return plan;
}

int64_t largest_micro_batch(const PlanInput& input, models::ActivationCheckpointing checkpointing,
                            bool sharded_optimizer, int64_t memory_bytes) {
  RunConfig config = input.config;
  config.train.activation_checkpointing = checkpointing;
  config.parallel.sharded_optimizer = sharded_optimizer;
  const PlanInput changed{.config = config,
                          .objective = input.objective,
                          .model = input.model,
                          .own_teacher = input.own_teacher,
                          .num_ranks = input.num_ranks,
                          .num_hosts = input.num_hosts,
                          .on_gpu = input.on_gpu,
                          .automaton_threads = input.automaton_threads};
  const auto fits = [&](int64_t sequences) {
    config.train.micro_batch_sequences = sequences;
    const MemoryPlan memory = memory_of(changed);
    return (input.on_gpu ? memory.device_peak() : memory.host_peak()) <= memory_bytes;
  };
  constexpr int64_t kMost = 1 << 16;  // the range of the key
  if (!fits(1)) return 0;
  int64_t good = 1, bad = kMost + 1;
  while (bad - good > 1) {
    const int64_t middle = good + (bad - good) / 2;
    (fits(middle) ? good : bad) = middle;
  }
  return good;
}

}  // namespace rosa::training
