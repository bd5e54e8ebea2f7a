// The ROSA adapters of a model: their configuration, weights, initialisation, files, and the layer itself.
// An adapter takes a layer's input after input_layernorm; its output is added to the self-attention's.
// adapter(h) = o_proj(v_emb1 * x + v_emb0 * (1 - x)), where x are the operator's bits. rosa_soft defines it so too.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "models/qwen3_config.h"
#include "rosa/operator/rosa_operator.h"
#include "rosa/operator/rosa_state.h"

namespace rosa::models {

struct AdapterConfig {
  std::vector<int64_t> layers;      // empty: all
  int64_t num_heads = 0;            // 0: hidden_size / query_key_bits
  int64_t num_key_value_heads = 0;  // 0: num_heads
  int64_t query_key_bits = 8;
  int64_t value_bits = 8;
  bool bias = false;
  std::string tie_start = "query_key";
  double value_embedding_scale = 1.0;
  bool zero_output_start = true;
  bool no_match_embedding = true;
  std::string estimator = "sufa";
  ProxyKernel proxy_kernel = ProxyKernel::fused;
  ProxyMask proxy_mask = ProxyMask::causal;
  FlipScale flip_scale = FlipScale::softsign;
  int64_t sufa_head_dim = 128;
  bool position_bias = true;
  bool exact_value_gradient = false;
  bool query_key_gradient = true;
};

void describe(base::FieldVisitor& visitor, AdapterConfig& config);

// The rules that need no model.
void check(base::ConfigProblems& problems, const AdapterConfig& config);
// The rules between the adapters and the model that gets them.
void check(base::ConfigProblems& problems, const AdapterConfig& config, const Qwen3Config& model);

// The settings of rosa_soft, to reproduce it. In the demo these students learn nothing; the defaults are our own.
AdapterConfig rosa_soft_adapter_config();

// Fills in what 0 or empty stands for and checks the whole. Throws ConfigError naming the key.
AdapterConfig resolve(AdapterConfig config, const Qwen3Config& model);

// Name and shape of every weight of the adapters; `config` is resolved.
std::map<std::string, std::vector<int64_t>> adapter_parameter_shapes(const AdapterConfig& config,
                                                                     const Qwen3Config& model);

// One operator call: what the adapter of a layer gets besides its input.
struct AdapterCall {
  OperatorOptions options;
  at::Tensor documents;  // undefined, or int64 [B,T]
  HostExecutor* executor = nullptr;
  HardResult* recorded = nullptr;  // see rosa_operator()
};

// The second half of an adapter's forward; to be called once. Empty: the layer has no adapter.
using FinishAdapter = std::function<at::Tensor()>;

class AdapterSet {
 public:
  // Fresh adapters in float32, a pure function of the seed: linear layers uniform in +-1/sqrt(inputs), as PyTorch's
  // default, then what the options of `config` change. All weights require a gradient.
  AdapterSet(const AdapterConfig& config, const Qwen3Config& model, uint64_t seed);

  // Resolved: nothing is 0 or empty any more.
  const AdapterConfig& config() const { return config_; }
  bool has_layer(int64_t layer) const;

  // `running` (alpha, temperatures, training, control) with what the adapter's configuration decides filled in.
  OperatorOptions operator_options(const OperatorOptions& running, int64_t sliding_window) const;

  // normed [B,T,hidden] of any floating dtype -> [B,T,hidden] float32. Differentiable.
  at::Tensor forward(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const;
  // The first half of forward(): projects, hands the symbols to the automata and returns at once. What is done before
  // the second half is called runs beside the automata. The set and what `call` points to outlive it.
  FinishAdapter begin(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const;

  // The incremental form: n further positions [B,n,hidden] of the sequences in `state`. The hard operator; no gradient.
  at::Tensor append(int64_t layer, const at::Tensor& normed, RosaState& state, HostExecutor& executor) const;
  RosaState make_state(int64_t batch) const;

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
  struct Projections {
    at::Tensor query, key, value;  // [B,H,T,D], [B,G,T,D], [B,G,T,M]
  };
  Projections project(int64_t layer, const at::Tensor& normed) const;
  at::Tensor output(int64_t layer, const OperatorOutput& result) const;
  at::Tensor linear(int64_t layer, const char* name, const at::Tensor& input) const;
  void apply_start_options(int64_t layer);
  void set_weights(std::map<std::string, at::Tensor> tensors, const std::map<std::string, std::string>& metadata,
                   const std::filesystem::path& path);

  AdapterConfig config_;
  std::map<std::string, at::Tensor> parameters_;
};

}  // namespace rosa::models
