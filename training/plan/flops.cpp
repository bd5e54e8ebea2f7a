#include "training/plan/flops.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "training/plan/gradient_flow.h"

namespace rosa::training {
namespace {

double product(int64_t inputs, int64_t outputs) {
  return 2.0 * static_cast<double>(inputs) * static_cast<double>(outputs);
}

// Of one part of the model.
struct Cost {
  double forward = 0.0, backward = 0.0;

  void add_linear(const LinearFlow& flow, int64_t inputs, int64_t outputs) {
    const double cost = product(inputs, outputs);
    forward += cost;
    backward += cost * ((flow.input ? 1 : 0) + (flow.weight ? 1 : 0));
  }
  void add(const Cost& other) {
    forward += other.forward;
    backward += other.backward;
  }
};

int64_t query_width(const models::ModelConfig& model) { return model.num_attention_heads * model.head_dim; }

// The products of queries with keys and of weights with values; each gives gradients of two things.
Cost attention_cost(const models::ModelConfig& model, const LayerFlow& flow, double visible_positions) {
  const double one = 2.0 * static_cast<double>(query_width(model)) * visible_positions;
  const bool weights = flow.query || flow.key;
  return {2 * one, one * ((flow.query ? 1 : 0) + (flow.key ? 1 : 0) + (weights ? 1 : 0) + (flow.value ? 1 : 0))};
}

// The linear layers of a layer of the base.
Cost base_cost(const models::ModelConfig& model, const LayerFlow& flow) {
  const int64_t hidden = model.hidden_size, key_width = model.num_key_value_heads * model.head_dim;
  Cost cost;
  cost.add_linear(flow.q_proj, hidden, query_width(model));
  cost.add_linear(flow.k_proj, hidden, key_width);
  cost.add_linear(flow.v_proj, hidden, key_width);
  cost.add_linear(flow.o_proj, query_width(model), hidden);
  cost.add_linear(flow.gate, hidden, model.intermediate_size);
  cost.add_linear(flow.up, hidden, model.intermediate_size);
  cost.add_linear(flow.down, model.intermediate_size, hidden);
  return cost;
}

// Of the pairs beside them.
Cost low_rank_cost(const FlopsInput& input, int64_t layer, const LayerFlow& flow) {
  const LinearFlow* const flows[] = {&flow.q_proj, &flow.k_proj, &flow.v_proj, &flow.o_proj,
                                     &flow.gate,   &flow.up,     &flow.down};
  static_assert(std::size(flows) == models::kNumProjections);
  Cost cost;
  for (size_t i = 0; i < models::kNumProjections; ++i) {
    const std::string name = base::concat("model.layers.", layer, ".", models::kProjectionNames[i]);
    const auto a = input.low_rank.find(name + ".lora_A");
    if (a == input.low_rank.end()) continue;
    const LinearFlow of_a{flows[i]->input, input.trained.contains(name + ".lora_A")};
    const LinearFlow of_b{of_a.output(), input.trained.contains(name + ".lora_B")};
    cost.add_linear(of_a, a->second[1], a->second[0]);
    cost.add_linear(of_b, a->second[0], input.low_rank.at(name + ".lora_B")[0]);
  }
  return cost;
}

Cost adapter_cost(const models::ModelConfig& model, const models::AdapterConfig& adapter, const LayerFlow& flow) {
  Cost cost;
  cost.add_linear(flow.adapter_q, model.hidden_size, adapter.num_heads * adapter.query_key_bits);
  cost.add_linear(flow.adapter_k, model.hidden_size, adapter.num_key_value_heads * adapter.query_key_bits);
  cost.add_linear(flow.adapter_v, model.hidden_size, adapter.num_key_value_heads * adapter.value_bits);
  cost.add_linear(flow.adapter_o, adapter.num_heads * adapter.value_bits, model.hidden_size);
  const models::AdapterGates gates = models::adapter_gates(adapter);
  const LinearFlow of_gates{flow.gates, flow.gates};
  if (gates.hidden) cost.add_linear(of_gates, model.hidden_size, adapter.num_heads);
  if (gates.agreement) cost.add_linear(of_gates, model.hidden_size, adapter.num_heads * adapter.value_bits);
  return cost;
}

}  // namespace

double mean_visible_positions(int64_t sequence_length, int64_t window, int64_t sinks) {
  base::require(sequence_length >= 1 && window >= 0, "mean_visible_positions: got a length of ", sequence_length,
                " and a window of ", window, ", expected at least 1 and 0");
  const auto length = static_cast<double>(sequence_length);
  const double seen = window == 0 ? length : std::min(static_cast<double>(window), length);
  // The first `seen` positions see 1, 2, ..., the others as many as fit the window.
  // Position t sees min(sinks, t - window + 1) of the first positions beside its window.
  const double outside = length - seen, beside = std::min(static_cast<double>(sinks), outside);
  const double of_sinks = beside * (beside + 1) / 2 + (outside - beside) * beside;
  return (seen * (seen + 1) / 2 + outside * seen + of_sinks) / length;
}

namespace {

// Of layers and logits, with global attention.
double forward_cost(const models::ModelConfig& model, int64_t sequence_length) {
  const double attention = attention_cost(model, {}, mean_visible_positions(sequence_length, 0)).forward;
  return static_cast<double>(model.num_hidden_layers) * (base_cost(model, {}).forward + attention) +
         product(model.hidden_size, model.vocab_size);
}

}  // namespace

void set_passes(FlopsInput& input, const LossConfig& loss) {
  input.has_own_forward = loss.has_own_forward();
  input.has_fed_forward = loss.has_fed_forward();
  input.has_logits = loss.output > 0;
}

namespace {

// Of the student's layers, and what their activation checkpointing costs besides.
Cost layers_cost(const FlopsInput& input, const GradientFlow& flow, double& recomputation) {
  Cost student;
  for (size_t i = 0; i < flow.layers.size(); ++i) {
    const LayerFlow& layer = flow.layers[i];
    const int64_t window = input.layer_windows.empty() ? input.sliding_window : input.layer_windows.at(i);
    const double seen_by_student = mean_visible_positions(input.sequence_length, window, input.sink_tokens);
    Cost cost = base_cost(input.model, layer);
    cost.add(low_rank_cost(input, static_cast<int64_t>(i), layer));
    cost.add(attention_cost(input.model, layer, seen_by_student));
    if (layer.has_adapter) cost.add(adapter_cost(input.model, *input.adapter, layer));
    if (layer.output) recomputation += cost.forward;
    student.add(cost);
  }
  return student;
}

}  // namespace

TokenFlops token_flops(const FlopsInput& input) {
  const models::ModelConfig& model = input.model;
  const GradientFlow flow = gradient_flow(model, input.adapter, input.trained);
  TokenFlops flops;
  Cost student;
  if (input.has_own_forward) student.add(layers_cost(input, flow, flops.recomputation));
  if (input.has_fed_forward) {
    const GradientFlow fed = gradient_flow(model, input.adapter, input.trained, /*is_fed=*/true);
    student.add(layers_cost(input, fed, flops.recomputation));
  }
  Cost logits;
  if (input.has_logits) logits.add_linear(flow.logits, model.hidden_size, model.vocab_size);
  student.add(logits);
  flops.student_forward = student.forward;
  flops.student_backward = student.backward;
  if (input.teacher != nullptr) {
    flops.teacher_forward = forward_cost(*input.teacher, input.sequence_length);
    if (!input.has_logits) flops.teacher_forward -= product(input.teacher->hidden_size, input.teacher->vocab_size);
  }
  return flops;
}

}  // namespace rosa::training
