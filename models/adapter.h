// The ROSA adapters of a model: their weights, initialisation, files, and the layer itself.
//
// An adapter takes a layer's input x after input_layernorm. Its queries retrieve bits b of a head's values, and
//
//     y = o_proj(v_emb1 * b + v_emb0 * (1 - b)), and v_emb_no_match where the head matched nothing
//
// is added to the self-attention's output, as rosa_soft has it, or to the layer's, after the MLP (AdapterPlace). With
// gates, what head s retrieved is multiplied by 2 sigmoid(z), with z the sum of
//
//     length      g_len[s, bucket of the match's length]
//     hidden      <g_hidden[s], u>
//     agreement   g_head[s] * sum_j r[j] <O[:, j], g_dim * u> where tied, or sum_j r[j] <g_bil[j], u> where full;
//                 j runs over the head's bits, r = 2 b - 1, or 0 without a match, and O is the matrix of o_proj
//
// With mixed queries the first half of the heads, from layer 1 on, makes queries, keys and values of layer 0's x.
//
// u is x where the output joins the attention's; after the MLP it is the layer's output, normalised by the weight of
// the next layer's input_layernorm (of the final norm in the last layer). Full agreement and a length gate together add
// u_len[s, bucket] to what the head retrieved. All gates start at 1. One more adapter may stand before the final norm,
// under the number behind the last layer's: x and u are then that norm's output.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "models/adapter_config.h"
#include "models/code_training.h"
#include "models/gate_statistics.h"
#include "models/low_rank.h"
#include "rosa/operator/rosa_operator.h"
#include "rosa/operator/rosa_state.h"

namespace rosa::models {

// One operator call: what the adapter of a layer gets besides its input.
struct AdapterCall {
  OperatorOptions options;
  at::Tensor documents;    // undefined, or int64 [B,T]
  at::Tensor first_input;  // what layer 0 gets as its `normed`; needed with mixed_queries
  HostExecutor* executor = nullptr;
  HardResult* recorded = nullptr;  // see rosa_operator()
  CodeTraining codes;              // acts in training only
  // Projections and output in pieces of so many positions, computed again in the backward (pieces.h); 0: whole.
  int64_t sequence_chunk = 0;
  // With pieces: makes u of what the second half gets, within each piece. Empty: it gets u.
  std::function<at::Tensor(const at::Tensor& hidden)> gate_norm = {};
  at::Tensor gate_norm_weight = {};           // what it depends on besides
  GateStatistics* gate_statistics = nullptr;  // where it is set: gets the gates of a forward, once; it must outlive it
};

// What the automata of a layer match: packed bits (rosa/operator/symbols.h).
struct AdapterSymbols {
  at::Tensor query;  // [B,H,T]
  at::Tensor key;    // [B,G,T], G divides H: query head h reads key head h / (H / G)
};

// The second half of an adapter's forward, which gets u, [B,T,hidden]; to be called once. Empty: the layer has no
// adapter.
using FinishAdapter = std::function<at::Tensor(const at::Tensor& gate_input)>;

class AdapterSet {
 public:
  // Fresh adapters in float32, a pure function of the seed: linear layers uniform in +-1/sqrt(inputs), as PyTorch's
  // default, then what the options of `config` change. All weights require a gradient.
  AdapterSet(const AdapterConfig& config, const ModelConfig& model, uint64_t seed);

  // Resolved: nothing is 0 or empty any more.
  const AdapterConfig& config() const { return config_; }
  bool has_layer(int64_t layer) const;
  // Takes over how gradients are estimated, and nothing else: the keys of `config` from estimator to
  // gradient_dropout_unit.
  void use_estimator(const AdapterConfig& config);

  // `running` (alpha, temperatures, training, control) with what the adapter's configuration decides filled in.
  OperatorOptions operator_options(const OperatorOptions& running, int64_t sliding_window) const;

  // normed [B,T,hidden] of any floating dtype; the second half gives [B,T,hidden] float32. Differentiable. Projects,
  // hands the symbols to the automata and returns at once: what is done before the second half is called runs beside
  // the automata. The set and what `call` points to outlive it.
  FinishAdapter begin(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const;

  // Both halves at once, with u = normed.
  at::Tensor forward(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const;
  // The symbols that begin() hands to the automata for this input. No gradient.
  AdapterSymbols symbols(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) const;

  // The incremental form: n further positions [B,n,hidden] of the sequences in `state`. The hard operator; no gradient.
  FinishAdapter append(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input, RosaState& state,
                       HostExecutor& executor) const;
  RosaState make_state(int64_t batch) const;

  // The same student's low-rank adaptation of the base's projections; null: none. It acts in every forward that has
  // these adapters, and in no other. Its weights are its own: none of the functions below concerns them.
  void set_low_rank(LowRank low_rank) { low_rank_ = std::move(low_rank); }
  LowRank* low_rank() { return low_rank_ ? &*low_rank_ : nullptr; }
  const LowRank* low_rank() const { return low_rank_ ? &*low_rank_ : nullptr; }

  // By the names under which rosa_soft saves them; ordered. Replace or move them, but keep the shapes.
  std::map<std::string, at::Tensor>& parameters() { return parameters_; }
  const std::map<std::string, at::Tensor>& parameters() const { return parameters_; }
  // One of them, "q_proj.weight" of a layer. Throws ArgumentError where there is none.
  const at::Tensor& weight(int64_t layer, const char* name) const;
  // Those of one layer.
  std::vector<at::Tensor> layer_parameters(int64_t layer) const;

  // Writes a safetensors file, atomically. Throws FileError.
  void save(const std::filesystem::path& path) const;
  // Copies the weights of such a file into these (a warm start). A rosa_soft file has no v_emb_no_match: it starts at
  // v_emb0, which is the same function. Throws DataError, naming them, for missing or unexpected tensors, shapes,
  // dtypes.
  void load(const std::filesystem::path& path);
  // The same out of a whole student, base included: a file, or a model folder. Returns the names of the tensors that
  // belong to no adapter, which are not used. Throws as load() does, and DataError where there is no adapter.
  std::vector<std::string> load_from_student(const std::filesystem::path& path);

 private:
  CodeLogits project(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) const;
  CodeLogits project(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const;
  CodeLogits by_heads(const std::vector<at::Tensor>& rows) const;
  OperatorSymbols symbols_in_pieces(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const;
  std::vector<at::Tensor> rows(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) const;
  at::Tensor output_in_pieces(int64_t layer, const HardResult& hard, const OperatorOutput& result,
                              const at::Tensor& gate_input, const AdapterCall& call, GateCounts* gates) const;
  at::Tensor gate(int64_t layer, const OperatorOutput& result, const at::Tensor& buckets, const at::Tensor& u) const;
  // `gates`, if not null, counts them.
  at::Tensor output(int64_t layer, const OperatorOutput& result, const at::Tensor& gate_input,
                    GateCounts* gates = nullptr) const;
  at::Tensor linear(int64_t layer, const char* name, const at::Tensor& input) const;
  // [B,T,heads,bits] of the projection's first `num_first` heads from `first_input`, and of the others from `normed`.
  at::Tensor mixed_linear(int64_t layer, const char* name, const at::Tensor& normed,
                          const at::Tensor& first_input) const;
  // Where a weight or bias ("k_proj.bias") of a linear layer starts; q_proj before the others.
  void start_linear(int64_t layer, const std::string& name, const std::vector<int64_t>& shape, int64_t num_inputs,
                    const base::RandomKey& key);
  void start_embeddings(int64_t layer);
  void set_weights(std::map<std::string, at::Tensor> tensors, const std::map<std::string, std::string>& metadata,
                   const std::filesystem::path& path);

  AdapterConfig config_;
  std::map<std::string, at::Tensor> parameters_;
  std::optional<LowRank> low_rank_;
};

}  // namespace rosa::models
