#include "training/experiment/gate_task.h"

#include <nlohmann/json.hpp>

#include "rosa/estimators/estimated_gate.h"
#include "rosa/operator/one_bit_gate.h"
#include "training/experiment/counting_data.h"
#include "training/experiment/start_weights.h"

namespace rosa::training {
namespace {

// int64 [B,T]: the token after the latest of the longest earlier matches, -1 for none.
at::Tensor retrieved_tokens(const at::Tensor& ids, HostExecutor& executor) {
  MatchRequest request;
  request.query_symbols = request.key_symbols = request.value_symbols = ids.to(at::kByte).unsqueeze(1);
  const HardResult hard = executor.wait(executor.submit(std::move(request)));
  return at::where(hard.matched, hard.value_symbols.to(at::kLong), -1).squeeze(1);
}

at::Tensor cross_entropy_sum(const at::Tensor& logits, const at::Tensor& targets) {
  return at::cross_entropy_loss(logits.reshape({-1, logits.size(-1)}), targets.reshape({-1}), {}, at::Reduction::Sum);
}

// Keeps what the backward asks an estimator.
class CallRecorder : public GateEstimator {
 public:
  double evaluations() const override { return 0; }
  at::Tensor gradient(const GateCall& call, HostExecutor&) override {
    recorded = call;
    return at::zeros_like(call.x);
  }

  GateCall recorded;
};

}  // namespace

GateTask::GateTask(const ExperimentConfig& config, const ExperimentArm& arm, uint64_t seed, HostExecutor& executor)
    : config_(config),
      is_counting_(config.experiment.task == ExperimentTaskKind::counting),
      seed_(seed),
      executor_(executor),
      estimator_(make_gate_estimator(arm.gate)) {
  const int64_t channels = config_.data.channels;
  StartWeights start(seed, parameters_);
  start.add_normal("embedding.weight", {kCountingVocabulary, channels});
  if (is_counting_) start.add_normal("rosa_embedding.weight", {kCountingVocabulary, channels});
  start.add("gate.emb0", at::full({channels}, -config_.data.embedding_scale));
  start.add("gate.emb1", at::full({channels}, config_.data.embedding_scale));
  start.add_uniform("head.weight", {kCountingVocabulary, channels}, channels);
  start.add_uniform("head.bias", {kCountingVocabulary}, channels);
}

GateTask::Inputs GateTask::inputs(DataSplit split, int64_t step, int64_t first_sample, int64_t num_samples) const {
  const int64_t length = config_.data.length;
  // Held-out sequences are the same for all seeds.
  const uint64_t seed = split == DataSplit::train ? seed_ : 0;
  const at::Tensor tokens = counting_sequences(seed, split, step, first_sample, num_samples, length + 1);
  Inputs result{tokens.narrow(1, 0, length).contiguous(), tokens.narrow(1, 1, length).contiguous(), {}};
  if (is_counting_) result.retrieved = retrieved_tokens(result.ids, executor_);
  return result;
}

at::Tensor GateTask::embed(const Inputs& inputs) const {
  const at::Tensor embedded = at::embedding(parameter("embedding.weight"), inputs.ids);
  if (!is_counting_) return embedded;
  const at::Tensor retrieved = at::embedding(parameter("rosa_embedding.weight"), inputs.retrieved.clamp_min(0));
  return embedded + retrieved * (inputs.retrieved >= 0).unsqueeze(2);
}

at::Tensor GateTask::logits(const at::Tensor& embedded, const at::Tensor& gate_output) const {
  return at::linear(is_counting_ ? embedded + gate_output : gate_output, parameter("head.weight"),
                    parameter("head.bias"));
}

at::Tensor GateTask::loss(int64_t step, int64_t first_sample, int64_t num_samples) {
  const Inputs batch = inputs(DataSplit::train, step, first_sample, num_samples);
  const at::Tensor embedded = embed(batch);
  const GateStream stream{.seed = seed_,
                          .step = static_cast<uint64_t>(step),
                          .first_sample = static_cast<uint64_t>(first_sample),
                          .layer = 0};
  const at::Tensor gate =
      estimated_gate(embedded, parameter("gate.emb0"), parameter("gate.emb1"), *estimator_, stream, executor_);
  return cross_entropy_sum(logits(embedded, gate), batch.targets) /
         static_cast<double>(config_.data.num_samples * config_.data.length);
}

TaskScore GateTask::evaluate(bool zeroed) {
  const at::NoGradGuard no_gradient;
  const Inputs batch = inputs(DataSplit::held_out, 0, 0, config_.experiment.num_evaluation_samples);
  const at::Tensor embedded = embed(batch);
  const at::Tensor gate =
      zeroed ? at::zeros_like(embedded)
             : one_bit_gate(embedded, parameter("gate.emb0"), parameter("gate.emb1"), executor_).output;
  const at::Tensor scores = logits(embedded, gate);
  const auto num_tokens = static_cast<double>(batch.targets.numel());
  return {.loss = cross_entropy_sum(scores, batch.targets).item<double>() / num_tokens,
          .accuracy = (scores.argmax(-1) == batch.targets).sum().item<double>() / num_tokens};
}

void GateTask::add_results(nlohmann::ordered_json& result) {
  if (!is_counting_) return;
  const at::NoGradGuard no_gradient;
  const Inputs batch = inputs(DataSplit::held_out, 0, 0, config_.experiment.num_evaluation_samples);
  result["rosa_only_accuracy"] = (batch.retrieved == batch.targets).to(at::kFloat).mean().item<double>();
  const at::Tensor embedded = embed(batch);
  const at::Tensor gate = one_bit_gate(embedded, parameter("gate.emb0"), parameter("gate.emb1"), executor_).output;
  const at::Tensor predicted = logits(embedded, gate).argmax(-1);
  constexpr int64_t kNumLines = 3;
  for (int64_t row = 0; row < std::min(kNumLines, batch.ids.size(0)); ++row) {
    result["lines"].push_back({{"gold", counting_text(batch.targets[row])},
                               {"rosa", counting_text(batch.retrieved[row])},
                               {"model", counting_text(predicted[row])}});
  }
}

GateCall GateTask::gate_call(int64_t step, int64_t num_rows) {
  const Inputs batch = inputs(DataSplit::train, step, 0, num_rows);
  const at::Tensor embedded = embed(batch).detach().requires_grad_();
  CallRecorder recorder;
  const GateStream stream{.seed = seed_, .step = static_cast<uint64_t>(step), .first_sample = 0, .layer = 1};
  const at::Tensor gate = estimated_gate(embedded, parameter("gate.emb0").detach(), parameter("gate.emb1").detach(),
                                         recorder, stream, executor_);
  const at::Tensor loss =
      cross_entropy_sum(logits(embedded, gate), batch.targets) / static_cast<double>(num_rows * config_.data.length);
  loss.backward();
  // The backward reached the leaves of the head as well.
  for (const auto& [name, tensor] : parameters_) tensor.mutable_grad() = at::Tensor();
  return recorder.recorded;
}

double GateTask::loss_with_gate_output(int64_t step, int64_t num_rows, const at::Tensor& output) {
  const at::NoGradGuard no_gradient;
  const Inputs batch = inputs(DataSplit::train, step, 0, num_rows);
  return cross_entropy_sum(logits(embed(batch), output), batch.targets).item<double>() /
         static_cast<double>(num_rows * config_.data.length);
}

}  // namespace rosa::training
