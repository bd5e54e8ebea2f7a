#include "training/experiment/recall_task.h"

#include <nlohmann/json.hpp>

#include "training/experiment/start_weights.h"

namespace rosa::training {
namespace {

// The one layer that the adapter belongs to.
models::ModelConfig one_layer(int64_t hidden_size) {
  models::ModelConfig config;
  config.hidden_size = hidden_size;
  config.num_hidden_layers = 1;
  return config;
}

}  // namespace

RecallTask::RecallTask(const ExperimentConfig& config, const ExperimentArm& arm, uint64_t seed, HostExecutor& executor)
    : config_(config), seed_(seed), executor_(executor), adapters_(arm.adapter, one_layer(config.data.channels), seed) {
  const int64_t channels = config_.data.channels;
  StartWeights start(seed, parameters_);
  start.add_normal("embedding.weight", {recall_vocabulary(config_.data), channels});
  start.add_uniform("head.weight", {config_.data.num_values, channels}, channels);
  start.add_uniform("head.bias", {config_.data.num_values}, channels);
  parameters_.insert(adapters_.parameters().begin(), adapters_.parameters().end());
}

at::Tensor RecallTask::logits(const RecallBatch& batch, const OperatorOptions& running,
                              const models::CodeTraining& codes) const {
  const at::Tensor embedded = at::embedding(parameters_.at("embedding.weight"), batch.tokens);
  models::AdapterCall call;
  call.options = adapters_.operator_options(running, /*sliding_window=*/0);
  call.executor = &executor_;
  call.codes = codes;
  const at::Tensor hidden = embedded + adapters_.forward(/*layer=*/0, embedded, call);
  const at::Tensor index = batch.positions.unsqueeze(2).expand({-1, -1, hidden.size(2)});
  return at::linear(hidden.gather(1, index), parameters_.at("head.weight"), parameters_.at("head.bias"));
}

at::Tensor RecallTask::loss(int64_t step, int64_t first_sample, int64_t num_samples) {
  const RecallBatch batch = recall_sequences(config_.data, seed_, DataSplit::train, step, first_sample, num_samples);
  OperatorOptions running;
  running.training = true;
  models::CodeTraining codes;
  codes.seed = seed_;
  codes.step = step;
  codes.first_sample = first_sample;
  const at::Tensor scores = logits(batch, running, codes);
  return at::cross_entropy_loss(scores.flatten(0, 1), batch.answers.flatten(), {}, at::Reduction::Sum) /
         static_cast<double>(config_.data.num_samples * config_.data.num_queries);
}

// The same for all seeds.
RecallBatch RecallTask::held_out() const {
  return recall_sequences(config_.data, 0, DataSplit::held_out, 0, 0, config_.experiment.num_evaluation_samples);
}

TaskScore RecallTask::evaluate(bool zeroed) {
  const at::NoGradGuard no_gradient;
  const RecallBatch batch = held_out();
  OperatorOptions running;
  if (zeroed) running.control = OperatorControl::zeroed;
  const at::Tensor scores = logits(batch, running);
  return {.loss = at::cross_entropy_loss(scores.flatten(0, 1), batch.answers.flatten()).item<double>(),
          .accuracy = (scores.argmax(-1) == batch.answers).to(at::kDouble).mean().item<double>()};
}

void RecallTask::add_results(nlohmann::ordered_json& result) {
  const at::NoGradGuard no_gradient;
  const RecallBatch batch = held_out();
  const at::Tensor right = logits(batch, {}).argmax(-1) == batch.answers;
  // Bins of doubling width: a distance belongs to the power of two above it.
  for (int64_t bound = 2; bound / 2 <= config_.data.length; bound *= 2) {
    const at::Tensor in_bin = (batch.distances > bound / 2).logical_and(batch.distances <= bound);
    const auto count = in_bin.sum().item<double>();
    if (count == 0) continue;
    result["by_distance"].push_back(
        {{"distance", bound}, {"accuracy", right.logical_and(in_bin).sum().item<double>() / count}});
  }
}

}  // namespace rosa::training
