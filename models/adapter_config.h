// What the ROSA adapters of a model are: their configuration, its rules, and the names and shapes of their weights.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "models/code_training.h"
#include "models/model_config.h"
#include "rosa/operator/rosa_operator.h"

namespace rosa::models {

// Where a layer's adapter adds its output: to the self-attention's, or to the layer's own, after the MLP.
enum class AdapterPlace { attention, mlp };
// How a head compares the bits that it retrieved with the hidden state: by the columns of its part of o_proj, which
// takes few weights, or by a matrix of its own, and then with values by match length.
enum class Agreement { tied, full };

// What the gate of a head looks at; the gate scales what the head retrieved by 2 sigmoid(z).
struct AdapterGates {
  bool length = false;     // how long the match is
  bool hidden = false;     // the hidden state
  bool agreement = false;  // whether the hidden state says already what was retrieved

  bool any() const { return length || hidden || agreement; }
};

// Match lengths that a gate tells apart: 0, 1, 2, 3, 4, 5-6, 7-8, 9-12, 13-16, 17-32, 33 and more.
inline constexpr std::array<int64_t, 10> kLengthBuckets = {1, 2, 3, 4, 5, 7, 9, 13, 17, 33};  // where each begins
inline constexpr int64_t kNumLengthBuckets = kLengthBuckets.size() + 1;
// The bucket of a match's length, 0 for no match.
int64_t length_bucket(int64_t length);

// The defaults read matches with all gates after the MLP, from fixed hashes: docs/adapter.md has the measurements.
struct AdapterConfig {
  std::vector<int64_t> layers;      // empty: all
  int64_t num_heads = 0;            // 0: hidden_size / query_key_bits
  int64_t num_key_value_heads = 0;  // 0: num_heads
  int64_t query_key_bits = 8;
  int64_t value_bits = 8;
  bool bias = false;
  std::string tie_start = "query_key_value";
  double value_embedding_scale = 1.0;
  bool zero_output_start = true;
  bool no_match_embedding = true;
  AdapterPlace place = AdapterPlace::mlp;
  std::vector<std::string> gates = {"length", "hidden", "agreement"};  // any of these
  Agreement agreement = Agreement::tied;
  bool mixed_queries = true;
  Candidates candidates = Candidates::mean;
  double output_scale = 0.25;
  bool limit_to_window = false;
  std::string estimator = "none";
  ProxyKernel proxy_kernel = ProxyKernel::fused;
  ProxyMask proxy_mask = ProxyMask::causal;
  FlipScale flip_scale = FlipScale::softsign;
  int64_t sufa_head_dim = 128;
  PositionBias position_bias = PositionBias::exp;
  bool exact_value_gradient = false;
  bool query_key_gradient = true;
  GradientDropout gradient_dropout;  // of queries and keys; see code_training.h
};

void describe(base::FieldVisitor& visitor, AdapterConfig& config);

// The rules that need no model.
void check(base::ConfigProblems& problems, const AdapterConfig& config);
// The rules between the adapters and the model that gets them.
void check(base::ConfigProblems& problems, const AdapterConfig& config, const ModelConfig& model);

// What adapter.position_bias is called that was written as true or false, by the estimator beside it: true was exp, and
// false took the bias from SUFA alone. Any other text is returned as it is.
std::string position_bias_name(const std::string& text, const std::string& estimator);

// Gives it rosa_soft's form: beside the attention and without gates. Every adapter had it before there were others.
void use_plain_form(AdapterConfig& config);

// rosa_soft's form with queries, keys and values that sufa trains: what the defaults were before there were gates.
AdapterConfig plain_adapter_config();

// The settings of rosa_soft, to reproduce it: of its operator of 20251121, and of minirosa, which its trainer uses. In
// the demo these students learn nothing; the defaults are our own.
AdapterConfig rosa_soft_adapter_config();
AdapterConfig minirosa_adapter_config();

// Fills in what 0 or empty stands for and checks the whole. Throws ConfigError naming the key.
AdapterConfig resolve(AdapterConfig config, const ModelConfig& model);

// `options` with what the configuration decides filled in.
OperatorOptions adapter_operator_options(OperatorOptions options, const AdapterConfig& config);

// The gates that config.gates names.
AdapterGates adapter_gates(const AdapterConfig& config);

// Whether the weight of this full name makes symbols that no gradient reaches: they stay fixed hashes of the layer's
// input, and the weight is never trained.
bool is_fixed_hash(const AdapterConfig& config, const std::string& name);

// What the sizes of the weights do not tell of what they do, as one text; empty for the adapters of rosa_soft's form.
std::string adapter_form(const AdapterConfig& config);

// Name and shape of every weight of the adapters; `config` is resolved.
std::map<std::string, std::vector<int64_t>> adapter_parameter_shapes(const AdapterConfig& config,
                                                                     const ModelConfig& model);

// "model.layers.3.self_attn.rosa_attn.q_proj.weight": the full name of one of an adapter's weights, as rosa_soft's.
std::string adapter_weight_name(int64_t layer, const std::string& name);

}  // namespace rosa::models
