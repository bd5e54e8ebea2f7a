#include "training/plan/gradient_flow.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::training {
namespace {

class Layer {
 public:
  Layer(int64_t index, const models::AdapterConfig* adapter, const std::set<std::string>& trained)
      : index_(index), adapter_(adapter), trained_(trained) {}

  LayerFlow flow(bool hidden) const {
    LayerFlow flow;
    flow.hidden = hidden;
    flow.normed = hidden || is_trained("input_layernorm.weight");
    flow.q_proj = projection("self_attn.q_proj", flow.normed);
    flow.k_proj = projection("self_attn.k_proj", flow.normed);
    flow.v_proj = projection("self_attn.v_proj", flow.normed);
    flow.query = flow.q_proj.output() || is_trained("self_attn.q_norm.weight") || is_trained("self_attn.q_proj.bias");
    flow.key = flow.k_proj.output() || is_trained("self_attn.k_norm.weight") || is_trained("self_attn.k_proj.bias");
    flow.value = flow.v_proj.output() || is_trained("self_attn.v_proj.bias");
    flow.o_proj = projection("self_attn.o_proj", flow.has_attention_gradient());
    const bool after_mlp = adapter_ != nullptr && adapter_->place == models::AdapterPlace::mlp;
    add_adapter_input(flow);
    if (!after_mlp) add_adapter_output(flow, flow.normed);
    flow.middle = hidden || flow.o_proj.output() || flow.adapter_o.output();
    const bool input = flow.middle || is_trained("post_attention_layernorm.weight");
    flow.gate = projection("mlp.gate_proj", input);
    flow.up = projection("mlp.up_proj", input);
    flow.down = projection("mlp.down_proj", flow.gate.output() || flow.up.output());
    flow.output = flow.middle || flow.down.output();
    if (after_mlp) add_adapter_output(flow, flow.output);
    flow.output = flow.output || flow.adapter_o.output();
    return flow;
  }

 private:
  bool is_trained(const std::string& name) const {
    return trained_.contains(base::concat("model.layers.", index_, ".", name));
  }
  LinearFlow linear(const std::string& name, bool input) const { return {input, is_trained(name)}; }
  // Of the base.
  LinearFlow projection(const std::string& name, bool input) const {
    return {input, is_trained(name + ".weight"), is_trained(name + ".lora_A") || is_trained(name + ".lora_B")};
  }

  // Every estimator gives all logits a gradient, but where the configuration keeps it from queries and keys.
  void add_adapter_input(LayerFlow& flow) const {
    if (adapter_ == nullptr) return;
    flow.has_adapter = std::find(adapter_->layers.begin(), adapter_->layers.end(), index_) != adapter_->layers.end();
    if (!flow.has_adapter) return;
    const std::string prefix = "self_attn.rosa_attn.";
    if (adapter_->query_key_gradient) {
      flow.adapter_q = linear(prefix + "q_proj.weight", flow.normed);
      flow.adapter_k = linear(prefix + "k_proj.weight", flow.normed);
    }
    flow.adapter_v = linear(prefix + "v_proj.weight", flow.normed);
  }

  // `gate_input`: whether the hidden state that the gates see depends on something trained.
  void add_adapter_output(LayerFlow& flow, bool gate_input) const {
    if (!flow.has_adapter) return;
    const std::string prefix = "self_attn.rosa_attn.";
    const models::AdapterGates gates = models::adapter_gates(*adapter_);
    for (const char* name : {"g_len", "g_hidden", "g_dim", "g_head", "g_bil"}) {
      flow.gates = flow.gates || is_trained(prefix + name);
    }
    flow.gates = flow.gates || ((gates.hidden || gates.agreement) && gate_input);
    const bool bits = flow.adapter_q.output() || flow.adapter_k.output() || flow.adapter_v.output();
    const bool values = bits || flow.gates || is_trained(prefix + "u_len") || is_trained(prefix + "v_emb0") ||
                        is_trained(prefix + "v_emb1") ||
                        (adapter_->no_match_embedding && is_trained(prefix + "v_emb_no_match"));
    flow.adapter_o = linear(prefix + "o_proj.weight", values);
  }

  int64_t index_;
  const models::AdapterConfig* adapter_;
  const std::set<std::string>& trained_;
};

}  // namespace

GradientFlow gradient_flow(const models::ModelConfig& model, const models::AdapterConfig* adapter,
                           const std::set<std::string>& trained, bool is_fed) {
  constexpr const char* kEmbedding = "model.embed_tokens.weight";
  GradientFlow flow;
  bool hidden = !is_fed && trained.contains(kEmbedding);
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    flow.layers.push_back(Layer(layer, adapter, trained).flow(hidden));
    hidden = !is_fed && flow.layers.back().output;
  }
  flow.last_hidden = hidden;
  flow.logits = {hidden || trained.contains("model.norm.weight"),
                 trained.contains(model.tie_word_embeddings ? kEmbedding : "lm_head.weight")};
  return flow;
}

}  // namespace rosa::training
