#include "training/alignment.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "training/plan/gradient_flow.h"
#include "training/plan/sizes.h"

namespace rosa::training {

void check_alignment(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model) {
  const LossConfig& loss = config.loss;
  if (loss.alignment == 0) return;
  const int64_t num_layers = model.num_hidden_layers;
  const auto num_weights = static_cast<int64_t>(loss.alignment_layers.size());
  problems.require(num_weights == 0 || num_weights == num_layers || num_weights == num_layers + 1,
                   {"loss.alignment_layers"}, "has ", num_weights, " entries; expected one for each of ", num_layers,
                   " layers, and at most one more for the final norm's output");
  if (num_weights == 0 || num_weights == num_layers || num_weights == num_layers + 1) {
    const std::vector<double> weights = alignment_weights(config, num_layers);
    problems.require(std::any_of(weights.begin(), weights.end(), [](double weight) { return weight > 0; }),
                     {"loss.alignment_layers", "adapter.layers"}, "selects no layer: nothing would be aligned");
    problems.require(loss.alignment_of == AlignmentOf::hidden || weights.back() == 0,
                     {"loss.alignment_of", "loss.alignment_layers", "adapter.layers"},
                     "is attention, but the adapter before the final norm stands beside none; take hidden, or give it "
                     "weight 0 in loss.alignment_layers");
  }
  problems.require(loss.alignment_of == AlignmentOf::hidden || config.adapter.place == models::AdapterPlace::attention,
                   {"loss.alignment_of", "adapter.place"},
                   "is attention, but the adapters stand after the MLP and have no part in what the attention adds; "
                   "take hidden");
  problems.require(
      loss.alignment_of == AlignmentOf::hidden ||
          config.train.activation_checkpointing != models::ActivationCheckpointing::full,
      {"loss.alignment_of", "train.activation_checkpointing"},
      "is attention, which a layer that is run again as a whole does not keep; take hidden, or no full checkpointing");
}

void check_alignment_learns(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model) {
  const LossConfig& loss = config.loss;
  if (loss.alignment == 0 || loss.output > 0) return;
  const RunSizes sizes(config, Objective::distill, model);
  const GradientFlow flow = gradient_flow(model, sizes.adapter(), sizes.trained(), /*is_fed=*/loss.has_fed_forward());
  const std::vector<double> weights = alignment_weights(config, model.num_hidden_layers);
  bool learns = false;
  for (size_t i = 0; i < flow.layers.size(); ++i) {
    const LayerFlow& layer = flow.layers[i];
    const bool has_gradient =
        loss.alignment_of == AlignmentOf::hidden ? layer.output : layer.o_proj.output() || layer.adapter_o.output();
    learns = learns || (weights[i] > 0 && has_gradient);
  }
  const std::string last = models::adapter_weight_name(model.num_hidden_layers, "");
  const bool trains_last = std::any_of(sizes.trained().begin(), sizes.trained().end(), [&](const std::string& name) {
    return name.starts_with(last) || name == "model.norm.weight";
  });
  learns = learns || (weights.back() > 0 && (flow.last_hidden || trains_last));
  problems.require(learns, {"loss.alignment_layers", "loss.alignment_input", "adapter.layers", "train.trainable"},
                   "selects layers in which nothing is trained: there is nothing to learn");
}

void check_alignment_with(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model,
                          const models::ModelConfig& teacher) {
  problems.require(config.loss.alignment == 0 || (teacher.hidden_size == model.hidden_size &&
                                                  teacher.num_hidden_layers == model.num_hidden_layers),
                   {"loss.alignment", "teacher.folder"}, "compares layer with layer, but the teacher has ",
                   teacher.num_hidden_layers, " layers of width ", teacher.hidden_size, " and the student ",
                   model.num_hidden_layers, " of ", model.hidden_size);
}

std::vector<double> alignment_weights(const RunConfig& config, int64_t num_layers) {
  std::vector<double> weights = config.loss.alignment_layers;
  if (weights.empty()) {
    const std::vector<int64_t>& layers = config.adapter.layers;
    weights.assign(static_cast<size_t>(num_layers), layers.empty() ? 1.0 : 0.0);
    weights.push_back(0.0);
    for (const int64_t layer : layers) {
      if (layer >= 0 && layer <= num_layers) weights[static_cast<size_t>(layer)] = 1.0;
    }
  }
  weights.resize(static_cast<size_t>(num_layers) + 1, 0.0);
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight = sum > 0 ? weight / sum : 0.0;
  return weights;
}

Alignment::Alignment(const RunConfig& config, const models::CausalModel& model, const models::CausalModel& teacher)
    : config_(config.loss),
      model_(model),
      teacher_(teacher),
      weights_(alignment_weights(config, model.config().num_hidden_layers)),
      inputs_(weights_.size()),
      targets_(weights_.size()) {}

at::Tensor Alignment::run_teacher(const at::Tensor& input_ids, const at::Tensor& documents, int64_t sequence_chunk) {
  const at::NoGradGuard no_gradient;
  models::ForwardOptions options;
  options.documents = documents;
  options.sequence_chunk = sequence_chunk;
  const bool keeps_inputs = config_.alignment_input == AlignmentInput::teacher;
  options.replace_layer_input = [this, keeps_inputs](int64_t layer, const at::Tensor& hidden) {
    if (keeps_inputs && counts(layer)) inputs_[static_cast<size_t>(layer)] = hidden;
    return hidden;
  };
  const auto keep = [this](int64_t layer, const at::Tensor& output) {
    if (counts(layer)) targets_[static_cast<size_t>(layer)] = output;
  };
  (config_.alignment_of == AlignmentOf::attention ? options.watch_attention : options.watch_layer_output) = keep;
  at::Tensor hidden = teacher_.hidden_states(input_ids, options);
  if (counts(model_.config().num_hidden_layers)) targets_.back() = hidden;
  return hidden;
}

void Alignment::watch(models::ForwardOptions& options) {
  const auto compare_layer = [this](int64_t layer, const at::Tensor& output) { compare(layer, output); };
  (config_.alignment_of == AlignmentOf::attention ? options.watch_attention : options.watch_layer_output) =
      compare_layer;
}

void Alignment::feed(models::ForwardOptions& options) {
  options.replace_layer_input = [this](int64_t layer, const at::Tensor& hidden) {
    const at::Tensor& input = inputs_[static_cast<size_t>(layer)];
    return input.defined() ? input.to(hidden.scalar_type()) : hidden.detach();
  };
  watch(options);
}

// Undefined targets: the layer does not count.
void Alignment::compare(int64_t place, const at::Tensor& of_student) {
  const at::Tensor& target = targets_[static_cast<size_t>(place)];
  if (!target.defined()) return;
  const at::Tensor student = of_student.to(at::kFloat), teacher = target.to(at::kFloat);
  const at::Tensor distance = config_.alignment_by == AlignmentBy::cosine
                                  ? 1.0 - at::cosine_similarity(student, teacher, -1)
                                  : (student - teacher).square().mean(-1);
  const at::Tensor weighted = distance * weights_[static_cast<size_t>(place)];
  per_token_ = per_token_.defined() ? per_token_ + weighted : weighted;
}

void Alignment::add_to(Loss& loss, const at::Tensor& padding, double global_count) {
  base::require(per_token_.defined(), "Alignment::add_to: no student was compared");
  const at::Tensor counted = padding.defined() ? per_token_.masked_fill(padding, 0.0) : per_token_;
  if (global_count > 0) loss.value = loss.value + counted.sum() * (config_.alignment / global_count);
  const at::Tensor sums = counted.detach().to(at::kDouble).sum(1).cpu().contiguous();
  for (size_t i = 0; i < loss.sequences.size(); ++i) {
    loss.sequences[i].alignment = sums.const_data_ptr<double>()[i];
    loss.sums.alignment += loss.sequences[i].alignment;
  }
}

}  // namespace rosa::training
