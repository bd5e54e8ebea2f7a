// CausalModel: a decoder-only transformer, as Qwen3 in Hugging Face transformers, on plain tensors. Teacher and student
// are the same object run with different ForwardOptions. Knows no losses, and no ROSA beyond adding an adapter's
// output. What a model is made of, everything outside models/ learns from here and from model_config.h.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "models/adapter.h"
#include "models/attention.h"
#include "models/layer_source.h"
#include "models/model_config.h"
#include "rosa/operator/rosa_operator.h"

namespace rosa::models {

// What of a layer keeps only its input between forward and backward, and is computed again there: nothing, the whole
// layer, its MLP with the norm before it, or its self-attention. The automata run once.
enum class ActivationCheckpointing { none, full, mlp, attention };

// How one forward runs. The default is the teacher: global attention, no adapters.
struct ForwardOptions {
  int64_t sliding_window = 0;               // position t sees t-w+1 .. t; 0: every position up to t
  std::vector<int64_t> layer_windows = {};  // the same of each layer; empty: sliding_window in all
  int64_t sink_tokens = 0;                  // AttentionSpan::sinks of layers with a window
  at::Tensor documents;  // undefined, or int64 [B,T]: packed documents; positions restart at 0 in each
  const AdapterSet* adapters = nullptr;
  std::set<int64_t> left_out = {};  // layers whose adapters add nothing
  // What changes while training runs (alpha, temperatures, training, control); the adapter's configuration decides the
  // rest (AdapterSet::operator_options).
  OperatorOptions operator_options;
  HostExecutor* executor = nullptr;           // runs the automata; needed with adapters
  CodeTraining codes;                         // AdapterCall::codes
  GateStatistics* gate_statistics = nullptr;  // AdapterCall::gate_statistics
  ActivationCheckpointing activation_checkpointing = ActivationCheckpointing::none;
  // Where they are set: what layer `layer` gets in place of `hidden`, [B,T,hidden]; and told what a layer's attention
  // adds, with the adapter beside it, and what the layer gives. The number of layers stands for the final norm, with
  // the adapter before it. What the attention adds is not to be had with full activation checkpointing.
  std::function<at::Tensor(int64_t layer, const at::Tensor& hidden)> replace_layer_input = {};
  std::function<void(int64_t layer, const at::Tensor& attention)> watch_attention = {};
  std::function<void(int64_t layer, const at::Tensor& output)> watch_layer_output = {};
  // Where it is set: told what each adapter gets as its input, before it begins, and AdapterCall::first_input.
  std::function<void(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input)> watch_adapter_inputs = {};
  // All that is local along a sequence (norms, projections, attention in a window, adapters but the operator, MLP) in
  // pieces of so many positions, computed again in the backward: memory of a piece, not of the sequence. 0: whole.
  // Attention without a window, or with sinks, and the operator see whole sequences. Goes with activation checkpointing
  // none and full.
  int64_t sequence_chunk = 0;

  AttentionSpan span(int64_t layer) const {
    const int64_t window = layer_windows.empty() ? sliding_window : layer_windows[static_cast<size_t>(layer)];
    return {window, window > 0 ? sink_tokens : 0};
  }
};

// Throws ArgumentError where windows are negative, or not one for each layer.
void check_spans(const ForwardOptions& options, int64_t num_layers);

// query [B,T,H,d], key and value [B,T,G,d] -> [B,T,H*d]
using AttentionFunction =
    std::function<at::Tensor(int64_t layer, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value)>;

// What the layers of one forward share: the rotary tables, and the two functions in which a whole sequence and an
// incremental step differ.
struct LayerContext {
  at::Tensor cos;  // [1|B,T,1,head_dim]
  at::Tensor sin;  // the same, its first half negated
  AttentionFunction attention;
  // Begins a layer's adapter on the input of the self-attention, [B,T,hidden], and returns the function that gives its
  // output. Either function may be empty: nothing is added.
  std::function<FinishAdapter(int64_t layer, const at::Tensor& normed)> begin_adapter;
  AdapterPlace adapter_place = AdapterPlace::attention;
  std::function<void(int64_t layer, const at::Tensor& attention)> watch_attention = {};  // see ForwardOptions
  const LowRank* low_rank = nullptr;  // of the projections; null: none
  // Of the parts, mlp and attention only.
  ActivationCheckpointing activation_checkpointing = ActivationCheckpointing::none;
  // ForwardOptions::sequence_chunk. Where it is given there are no tables above, and `attention` is for layers that
  // need it whole.
  int64_t sequence_chunk = 0;
  std::function<bool(int64_t layer)> is_whole = {};  // whether the attention of a layer needs the whole sequence
  std::function<int64_t(int64_t layer)> halo = {};   // else: positions before a piece that its attention looks at
  // What positions first .. first + count - 1 alone need: tables, and the attention among them where it is not whole.
  std::function<LayerContext(int64_t layer, int64_t first, int64_t count)> narrowed = {};
};

// Where loaded weights lie.
enum class WeightStorage {
  owned,   // in memory of their own
  mapped,  // in the files, where dtype and alignment allow: shared with other processes of the host, never written to
};

// The weights of one layer, in the model's parameters().
struct LayerWeights {
  struct Linear {
    const at::Tensor* weight = nullptr;
    const at::Tensor* bias = nullptr;  // null where the family has none: traits(ModelFamily)
  };
  const Linear& operator[](Projection projection) const { return projections[static_cast<size_t>(projection)]; }

  const at::Tensor* input_norm = nullptr;
  std::array<Linear, kNumProjections> projections = {};
  const at::Tensor *q_norm = nullptr, *k_norm = nullptr;  // null where the family has none
  const at::Tensor* post_attention_norm = nullptr;
};

class CausalModel {
 public:
  // Takes weights by full Hugging Face name. Throws DataError, naming them, for missing or unexpected names or shapes.
  CausalModel(ModelConfig config, std::map<std::string, at::Tensor> parameters);
  CausalModel(CausalModel&&) = default;
  CausalModel& operator=(CausalModel&&) = default;

  // Reads a Hugging Face folder. `compute_dtype` ("float32", "bfloat16", "float16") is what the weights are widened or
  // narrowed to and what the forward computes in. Throws FileError or DataError.
  static CausalModel load(const std::filesystem::path& folder, const std::string& compute_dtype = "float32",
                          WeightStorage storage = WeightStorage::owned);

  // Whether load() would find what it needs: reads config.json and the headers of the weights. Throws as it does.
  static void check_files(const std::filesystem::path& folder);

  // Weights as transformers initialises them (normal with initializer_range, norms 1, biases 0), a pure function of the
  // seed.
  static CausalModel random(const ModelConfig& config, uint64_t seed);

  const ModelConfig& config() const { return config_; }

  // input_ids int64 [B,T] -> hidden states after the final norm, [B,T,hidden], in the compute dtype. Differentiable
  // in weights and adapters that require a gradient. Throws DataError for a token id outside the vocabulary and
  // ArgumentError for wrong shapes.
  at::Tensor hidden_states(const at::Tensor& input_ids, const ForwardOptions& options = {}) const;

  // The teacher's hidden states: global attention, no adapters, no gradient.
  at::Tensor teacher_hidden_states(const at::Tensor& input_ids, const at::Tensor& documents = {},
                                   int64_t sequence_chunk = 0) const;

  // [...,hidden] -> [...,vocab_size].
  at::Tensor logits(const at::Tensor& hidden) const;

  // [vocab_size, hidden], in the compute dtype: the token embedding where they are tied.
  at::Tensor lm_head_weight() const;

  // Device and dtype in which the forward computes.
  const at::TensorOptions& compute_options() const { return compute_options_; }

  // All weights by full Hugging Face name; a tied lm_head is not among them. A tensor may be replaced by one of its
  // shape; the map itself must stay. One of another dtype is cast where it is used, and its gradient is its own.
  std::map<std::string, at::Tensor>& parameters() { return parameters_; }
  const std::map<std::string, at::Tensor>& parameters() const { return parameters_; }

  // From now on the projections of the layers, which are frozen, come from `source`; null: from parameters() again.
  void set_layer_source(std::shared_ptr<LayerSource> source) { layer_source_ = std::move(source); }
  // Gives up the projections of a layer: parameters() keeps their shapes and dtype, as tensors without values (of the
  // device "meta"), and what lay in a mapped file is no longer in memory on this process's account.
  void drop_projections(int64_t layer);

  // Moves every weight that has values, one at a time.
  void move_to(const at::Device& device);

  // Of the files that weights lie in (WeightStorage::mapped). Throws FileError where one was written to since it was
  // loaded: the weights may be others now.
  void require_same_files() const;
  // What happened to the name of one, in words; empty: nothing. The weights are what they were.
  std::string trouble_with_files() const;

  // The parts of a forward, for incremental generation.
  at::Tensor embed(const at::Tensor& input_ids) const;
  // Fills cos and sin for int64 positions [1|B,T]. `length`: of the text that they are part of, for a rotation that
  // depends on it; 0: one more than the greatest position.
  void set_rotary_tables(const at::Tensor& positions, LayerContext& context, int64_t length = 0) const;
  at::Tensor layer(int64_t index, const at::Tensor& hidden, const LayerContext& context) const;
  at::Tensor final_norm(const at::Tensor& hidden) const;
  // What comes after the last layer: the adapter before the final norm, if there is one, and that norm.
  at::Tensor finish(const at::Tensor& hidden, const LayerContext& context) const;
  // hidden after the input_layernorm of a layer; after the final norm where `index` is the number of layers.
  at::Tensor input_norm(int64_t index, const at::Tensor& hidden) const;
  const at::Tensor& input_norm_weight(int64_t index) const;
  const LayerWeights& layer_weights(int64_t index) const { return layers_[index]; }
  // AdapterCall::first_input for embedded tokens; undefined where the adapters have no use for it.
  at::Tensor first_input(const at::Tensor& embedded, const AdapterSet* adapters) const;

 private:
  // In the compute dtype.
  at::Tensor in_compute_dtype(const at::Tensor& weight) const;
  at::Tensor project(int64_t index, Projection projection, const at::Tensor& input, const LowRank* low_rank) const;
  at::Tensor norm(const at::Tensor& input, const at::Tensor& weight) const;
  at::Tensor self_attention(int64_t index, const at::Tensor& normed, const LayerContext& context) const;
  // Query, key and value of the self-attention, [B,T,heads,head_dim], rotated.
  std::vector<at::Tensor> attention_heads(int64_t index, const at::Tensor& normed, const LayerContext& context) const;
  at::Tensor mlp(int64_t index, const at::Tensor& middle, const LowRank* low_rank) const;
  // What of a layer may be trained, but its adapter.
  std::vector<at::Tensor> layer_tensors(int64_t index, const LowRank* low_rank) const;
  at::Tensor layer_in_pieces(int64_t index, const at::Tensor& hidden, const LayerContext& context) const;
  at::Tensor norm_in_pieces(int64_t index, const at::Tensor& hidden, int64_t sequence_chunk) const;
  void set_pieces(const at::Tensor& positions, const ForwardOptions& options, LayerContext& context) const;
  // LayerContext::begin_adapter for `options`; `recorded`, if not null, keeps what the automata of one layer gave.
  std::function<FinishAdapter(int64_t, const at::Tensor&)> adapter_function(
      const ForwardOptions& options, const at::Tensor& first_input, const std::shared_ptr<HardResult>& recorded) const;
  at::Tensor checkpointed_layer(int64_t index, const at::Tensor& hidden, const LayerContext& context,
                                const ForwardOptions& options, const at::Tensor& first_input) const;

  ModelConfig config_;
  std::map<std::string, at::Tensor> parameters_;
  std::vector<std::shared_ptr<const base::SafetensorsFile>> files_;
  std::vector<LayerWeights> layers_;
  std::shared_ptr<LayerSource> layer_source_;
  at::TensorOptions compute_options_;
};

// Name and shape of every weight of a model with this configuration, without a tied lm_head.
std::map<std::string, std::vector<int64_t>> parameter_shapes(const ModelConfig& config);

}  // namespace rosa::models
