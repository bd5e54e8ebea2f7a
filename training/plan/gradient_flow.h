// Where gradients go in a training step, told from names alone: which values of a layer depend on something trained.
// What depends on nothing trained costs no backward and keeps nothing for it. Follows the forward of
// models/causal_model.h.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/model_config.h"

namespace rosa::training {

// Of a weight: whether it is trained, and whether its input depends on something trained. Both: two gradients are
// taken.
struct LinearFlow {
  bool input = false, weight = false;
  bool low_rank = false;  // a low-rank pair beside it is trained
  bool output() const { return input || weight || low_rank; }
  bool keeps_input() const { return weight || low_rank; }
};

struct LayerFlow {
  bool hidden = false;  // the layer's input
  bool normed = false;  // after input_layernorm
  LinearFlow q_proj, k_proj, v_proj;
  bool query = false, key = false, value = false;  // as they go into the attention
  LinearFlow o_proj;
  bool has_adapter = false;
  LinearFlow adapter_q, adapter_k, adapter_v;
  bool gates = false;  // of the adapter's heads
  LinearFlow adapter_o;
  bool middle = false;  // hidden + attention + adapter
  LinearFlow gate, up, down;
  bool output = false;

  bool has_logit_gradient() const { return adapter_q.output() || adapter_k.output() || adapter_v.output(); }
  bool has_attention_gradient() const { return query || key || value; }
};

struct GradientFlow {
  std::vector<LayerFlow> layers;
  bool last_hidden = false;  // before the final norm
  LinearFlow logits;
};

// `adapter`: resolved; null: none. `trained`: names of parameters. `is_fed`: each layer gets the teacher's input, which
// depends on nothing trained (training/alignment.h).
GradientFlow gradient_flow(const models::ModelConfig& model, const models::AdapterConfig* adapter,
                           const std::set<std::string>& trained, bool is_fed = false);

}  // namespace rosa::training
