#include "models/adapter_config.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa::models {
namespace {

using base::concat;
using base::Role;

constexpr int64_t kMaxBits = 63;
constexpr int64_t kMaxWidth = 65536;  // of the projections: heads times bits

std::string estimator_help() {
  std::string help = "How the gradient passes the hard operator:";
  for (const QkvEstimator* estimator : qkv_estimators()) {
    help += concat(estimator == qkv_estimators().front() ? " " : "; ", estimator->name(), ": ", estimator->summary());
  }
  return help +
         ". The proxies sufa, soft_rosa and dense_surrogate and the flips bit_flip and tied_flip take time quadratic "
         "in "
         "the length of a document; for long sequences take none.";
}

}  // namespace

std::string position_bias_name(const std::string& text, const std::string& estimator) {
  if (text == "false") return estimator == "soft_rosa" ? "exp" : "none";
  return text == "true" ? "exp" : text;
}

std::string adapter_weight_name(int64_t layer, const std::string& name) {
  return concat("model.layers.", layer, ".self_attn.rosa_attn.", name);
}

OperatorOptions adapter_operator_options(OperatorOptions options, const AdapterConfig& config) {
  options.estimator = &find_qkv_estimator(config.estimator);
  options.proxy_kernel = config.proxy_kernel;
  options.proxy_mask = config.proxy_mask;
  options.flip_scale = config.flip_scale;
  options.sufa_head_dim = config.sufa_head_dim;
  options.position_bias = config.position_bias;
  options.exact_value_gradient = config.exact_value_gradient;
  options.want_lengths = adapter_gates(config).length;
  options.candidates = config.candidates;
  return options;
}

void describe(base::FieldVisitor& visitor, AdapterConfig& config) {
  visitor.field("layers", config.layers, Role::recipe,
                "Decoder layers that get an adapter; empty: all. The number of layers stands for one more, before the "
                "final norm.",
                {0, 4095});
  visitor.field("num_heads", config.num_heads, Role::recipe, "ROSA heads; 0: hidden_size / query_key_bits.",
                {0, kMaxWidth});
  visitor.field("num_key_value_heads", config.num_key_value_heads, Role::recipe,
                "Key/value heads, a divisor of num_heads; 0: as many as heads.", {0, kMaxWidth});
  visitor.field("query_key_bits", config.query_key_bits, Role::recipe, "Bits of a query or key symbol.", {1, kMaxBits});
  visitor.field("value_bits", config.value_bits, Role::recipe, "Bits of a value symbol.", {1, kMaxBits});
  visitor.field("bias", config.bias, Role::recipe, "Whether the four projections have a bias.");
  visitor.field("tie_start", config.tie_start, Role::recipe,
                "Which projections start equal to the query's, so that matches exist from the first step.",
                {"none", "query_key", "query_key_value"});
  visitor.field("value_embedding_scale", config.value_embedding_scale, Role::recipe,
                "What a value bit adds at the start: v_emb0 = -scale, v_emb1 = +scale.", {0, 1e6});
  visitor.field("zero_output_start", config.zero_output_start, Role::recipe,
                "Whether o_proj starts at 0, so that training starts exactly at the window student.");
  visitor.field("no_match_embedding", config.no_match_embedding, Role::recipe,
                "Whether a third vector, v_emb_no_match, stands where a head matched nothing (else its bits are 0).");
  visitor.choice("place", config.place, Role::recipe,
                 {{"attention", AdapterPlace::attention}, {"mlp", AdapterPlace::mlp}},
                 "Where an adapter's output is added: to the self-attention's, or after the layer's MLP.");
  visitor.field(
      "gates", config.gates, Role::recipe,
      "What scales the output of a head: any of length (of its match), hidden (the hidden state) and agreement "
      "(of the hidden state with what was retrieved); empty: nothing does.");
  visitor.choice("agreement", config.agreement, Role::recipe, {{"tied", Agreement::tied}, {"full", Agreement::full}},
                 "How the agreement gate compares: by the head's columns of o_proj, or by a matrix of its own and with "
                 "values by match length (twice the weights).");
  visitor.field("mixed_queries", config.mixed_queries, Role::recipe,
                "Whether, from layer 1 on, the first half of the heads makes queries, keys and values of the first "
                "layer's input, which knows the token alone.");
  visitor.field("limit_to_window", config.limit_to_window, Role::recipe,
                "A control: matches end inside the student's window, so that what is learnt is not recall. Trained and "
                "scored only, in time quadratic in the length; can't generate and is not exported.");
  visitor.choice(
      "candidates", config.candidates, Role::recipe, {{"latest", Candidates::latest}, {"mean", Candidates::mean}},
      "Which places of the longest match a head retrieves: the latest, or the mean of the value bits after all "
      "of them.");
  visitor.field("output_scale", config.output_scale, Role::recipe, "What an adapter's output is multiplied by.",
                {1e-6, 1e6});
  visitor.field("estimator", config.estimator, Role::recipe, estimator_help(), qkv_estimator_names());
  visitor.choice(
      "proxy_kernel", config.proxy_kernel, Role::recipe,
      {{"fused", ProxyKernel::fused}, {"sdpa", ProxyKernel::sdpa}, {"composed", ProxyKernel::composed}},
      "How the proxy is computed: our own kernels; LibTorch's scaled_dot_product_attention (sufa only); plain "
      "tensor operations, quadratic in memory.");
  visitor.choice("proxy_mask", config.proxy_mask, Role::recipe,
                 {{"causal", ProxyMask::causal}, {"sliding_window", ProxyMask::sliding_window}},
                 "What the proxy sees: every earlier position, or the student's window (destroys long matches).");
  visitor.choice(
      "flip_scale", config.flip_scale, Role::recipe,
      {{"softsign", FlipScale::softsign}, {"sigmoid", FlipScale::sigmoid}},
      "What estimators that flip bits multiply a flip's effect by. softsign: 1 / (2 (1 + |x|)^2) of the logit x; "
      "sigmoid: p (1 - p).");
  visitor.field("sufa_head_dim", config.sufa_head_dim, Role::recipe,
                "Width of a SUFA query: sufa_head_dim / query_key_bits symbols are compared.", {1, 1 << 14});
  visitor.earlier_spellings("position_bias", {{"true", position_bias_name("true", config.estimator)},
                                              {"false", position_bias_name("false", config.estimator)}});
  visitor.choice("position_bias", config.position_bias, Role::recipe,
                 {{"none", PositionBias::none}, {"exp", PositionBias::exp}, {"log", PositionBias::log}},
                 "How sufa and soft_rosa prefer late positions, by their distance. exp: a little, as in rosa_soft's "
                 "operator of 20251121. log: by the distance's logarithm, with sufa's keys before the query alone, as "
                 "in rosa_soft's minirosa.");
  visitor.field(
      "exact_value_gradient", config.exact_value_gradient, Role::recipe,
      "Whether value logits get the straight-through gradient of the retrieved row instead of the estimator's.");
  visitor.field("query_key_gradient", config.query_key_gradient, Role::recipe,
                "Whether the estimator gives queries and keys a gradient; if not, they are fixed hashes of the layer's "
                "input, which are not trained, and with exact_value_gradient no estimator runs.");
  visitor.field("gradient_dropout", config.gradient_dropout.share, Role::recipe,
                "Share of the estimator's gradients of queries and keys that is dropped at random in the backward; the "
                "others are divided by 1 - share, so that the mean stays. 0: none.",
                {0, 0.999});
  visitor.choice("gradient_dropout_unit", config.gradient_dropout.unit, Role::recipe,
                 {{"head", DropoutUnit::head}, {"position", DropoutUnit::position}},
                 "What is dropped together: a position in one key/value head and the heads that read it, or a position "
                 "in all heads.");
}

void use_plain_form(AdapterConfig& config) {
  config.place = AdapterPlace::attention;
  config.gates.clear();
  config.agreement = Agreement::tied;
  config.mixed_queries = false;
  config.candidates = Candidates::latest;
  config.limit_to_window = false;
  config.output_scale = 1;
}

AdapterConfig plain_adapter_config() {
  AdapterConfig config;
  use_plain_form(config);
  config.estimator = "sufa";
  config.tie_start = "query_key";
  return config;
}

AdapterConfig rosa_soft_adapter_config() {
  AdapterConfig config = plain_adapter_config();
  config.tie_start = "none";
  config.value_embedding_scale = 1e-5;
  config.zero_output_start = false;
  config.no_match_embedding = false;
  config.proxy_mask = ProxyMask::sliding_window;
  config.exact_value_gradient = false;
  return config;
}

AdapterConfig minirosa_adapter_config() {
  AdapterConfig config = rosa_soft_adapter_config();
  config.estimator = "soft_rosa";
  config.position_bias = PositionBias::log;
  return config;
}

namespace {

int64_t default_num_heads(const AdapterConfig& config, const ModelConfig& model) {
  return std::max<int64_t>(1, model.hidden_size / config.query_key_bits);
}

void check_heads(base::ConfigProblems& problems, int64_t num_heads, const AdapterConfig& config) {
  const int64_t num_key_value_heads = config.num_key_value_heads;
  const bool divides = num_key_value_heads == 0 || num_heads % num_key_value_heads == 0;
  problems.require(divides, {"num_key_value_heads", "num_heads"}, "is ", num_key_value_heads,
                   "; expected a divisor of ", problems.full_key("num_heads"), ", which is ", num_heads);
  const int64_t num_keys = num_key_value_heads == 0 ? num_heads : num_key_value_heads;
  problems.require(!config.mixed_queries || num_keys % 2 == 0, {"mixed_queries", "num_key_value_heads", "num_heads"},
                   "needs an even number of key/value heads, for half of them; got ", num_keys);
}

// The key that a refusal of an estimator begins with.
std::string key_of_refusal(const std::string& refusal) {
  for (const char* key : {"sufa_head_dim", "proxy_kernel"}) {
    if (refusal.starts_with(key)) return key;
  }
  return "estimator";
}

}  // namespace

void check(base::ConfigProblems& problems, const AdapterConfig& config) {
  std::vector<int64_t> layers = config.layers;
  std::sort(layers.begin(), layers.end());
  problems.require(std::adjacent_find(layers.begin(), layers.end()) == layers.end(), {"layers"}, "names a layer twice");
  bool has_good_bits = true;
  for (const auto& [key, bits] :
       {std::pair{"query_key_bits", config.query_key_bits}, {"value_bits", config.value_bits}}) {
    const bool is_good = bits >= 1 && bits <= kMaxBits;
    problems.require(is_good, {key}, "is ", bits, " bits; expected 1 to ", kMaxBits);
    has_good_bits = has_good_bits && is_good;
  }
  if (config.num_heads > 0) {
    check_heads(problems, config.num_heads, config);
    const int64_t bits = std::max(config.query_key_bits, config.value_bits);
    problems.require(bits <= kMaxWidth && config.num_heads <= kMaxWidth / bits,
                     {"num_heads", "query_key_bits", "value_bits"}, config.num_heads, " heads of ", bits,
                     " bits make a projection of ", static_cast<double>(config.num_heads) * static_cast<double>(bits),
                     " columns; expected at most ", kMaxWidth);
  }
  const bool is_known_tie =
      config.tie_start == "none" || config.tie_start == "query_key" || config.tie_start == "query_key_value";
  problems.require(is_known_tie, {"tie_start"}, "is '", config.tie_start,
                   "'; expected none, query_key or query_key_value");
  problems.require(config.tie_start != "query_key_value" || config.query_key_bits == config.value_bits,
                   {"tie_start", "value_bits", "query_key_bits"},
                   "query_key_value needs value_bits equal to query_key_bits; got ", config.value_bits, " and ",
                   config.query_key_bits);
  problems.require(config.candidates == Candidates::latest || !config.exact_value_gradient,
                   {"candidates", "exact_value_gradient"}, "is mean, but ", problems.full_key("exact_value_gradient"),
                   " is the gradient of the latest place's value; set one of the two otherwise");
  const std::vector<std::string> known = {"length", "hidden", "agreement"};
  for (size_t i = 0; i < config.gates.size(); ++i) {
    const std::string& gate = config.gates[i];
    problems.require(std::find(known.begin(), known.end(), gate) != known.end(), {"gates"}, "names '", gate,
                     "'; expected any of length, hidden and agreement");
    problems.require(std::find(config.gates.begin(), config.gates.begin() + static_cast<int64_t>(i), gate) ==
                         config.gates.begin() + static_cast<int64_t>(i),
                     {"gates"}, "names ", gate, " twice");
  }
  problems.require(config.agreement == Agreement::tied || adapter_gates(config).agreement, {"agreement", "gates"},
                   "is full, but ", problems.full_key("gates"), " names no agreement gate; add agreement there");
  const bool learns = config.query_key_gradient && config.estimator != "none";
  problems.require(config.gradient_dropout.share == 0 || learns,
                   {"gradient_dropout", "query_key_gradient", "estimator"}, "is ", config.gradient_dropout.share,
                   ", but queries and keys get no gradient that could be dropped: ",
                   problems.full_key(config.query_key_gradient ? "estimator" : "query_key_gradient"), " is ",
                   config.query_key_gradient ? "none" : "false");
  if (!has_good_bits) return;
  const OperatorOptions options = adapter_operator_options({}, config);
  if (options.estimator->needs_equal_codes()) {
    problems.require(config.tie_start != "none", {"estimator", "tie_start"}, "is ", config.estimator,
                     ", which needs queries and keys that start equal; set ", problems.full_key("tie_start"),
                     " to query_key or query_key_value");
    const bool has_equal_heads = config.num_key_value_heads == 0 || config.num_key_value_heads == config.num_heads;
    problems.require(has_equal_heads, {"estimator", "num_key_value_heads", "num_heads"}, "is ", config.estimator,
                     ", which needs as many key/value heads as heads; set ", problems.full_key("num_key_value_heads"),
                     " to 0");
  }
  const std::string refusal = options.estimator->refusal(config.query_key_bits, config.value_bits, options);
  problems.require(
      refusal.empty(),
      {key_of_refusal(refusal), "estimator", "proxy_kernel", "sufa_head_dim", "query_key_bits", "value_bits"}, refusal);
}

void check(base::ConfigProblems& problems, const AdapterConfig& config, const ModelConfig& model) {
  for (const int64_t layer : config.layers) {
    problems.require(layer >= 0 && layer <= model.num_hidden_layers, {"layers"}, "holds ", layer,
                     "; the model has layers 0 to ", model.num_hidden_layers - 1, ", and ", model.num_hidden_layers,
                     " stands for an adapter before the final norm");
  }
  if (config.num_heads != 0) return;
  check_heads(problems, default_num_heads(config, model), config);
}

AdapterConfig resolve(AdapterConfig config, const ModelConfig& model) {
  base::ConfigProblems problems;
  problems.section("adapter", config);
  if (problems.empty()) problems.section("adapter", config, model);
  problems.throw_if_any();
  if (config.layers.empty()) {
    config.layers.resize(model.num_hidden_layers);
    std::iota(config.layers.begin(), config.layers.end(), 0);
  }
  std::sort(config.layers.begin(), config.layers.end());
  if (config.num_heads == 0) config.num_heads = default_num_heads(config, model);
  if (config.num_key_value_heads == 0) config.num_key_value_heads = config.num_heads;
  return config;
}

bool is_fixed_hash(const AdapterConfig& config, const std::string& name) {
  const auto is_of = [&name](const char* projection) {
    return name.find(concat(".rosa_attn.", projection, ".")) != std::string::npos;
  };
  const bool is_query_or_key = is_of("q_proj") || is_of("k_proj");
  if (config.estimator == "none") return is_query_or_key || (is_of("v_proj") && !config.exact_value_gradient);
  return is_query_or_key && !config.query_key_gradient;
}

std::string adapter_form(const AdapterConfig& config) {
  std::string form;
  const auto add = [&form](const std::string& part) { form += (form.empty() ? "" : " ") + part; };
  if (config.place == AdapterPlace::mlp) add("place=mlp");
  if (config.mixed_queries) add("mixed_queries=true");
  if (config.limit_to_window) add("limit_to_window=true");
  if (config.candidates == Candidates::mean) add("candidates=mean");
  if (config.output_scale != 1) add(concat("output_scale=", config.output_scale));
  return form;
}

int64_t length_bucket(int64_t length) {
  return std::upper_bound(kLengthBuckets.begin(), kLengthBuckets.end(), length) - kLengthBuckets.begin();
}

AdapterGates adapter_gates(const AdapterConfig& config) {
  const auto has = [&](const char* gate) {
    return std::find(config.gates.begin(), config.gates.end(), gate) != config.gates.end();
  };
  return {has("length"), has("hidden"), has("agreement")};
}

std::map<std::string, std::vector<int64_t>> adapter_parameter_shapes(const AdapterConfig& config,
                                                                     const ModelConfig& model) {
  const int64_t query_width = config.num_heads * config.query_key_bits;
  const int64_t key_width = config.num_key_value_heads * config.query_key_bits;
  const int64_t value_width = config.num_key_value_heads * config.value_bits;
  const int64_t output_width = config.num_heads * config.value_bits;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const int64_t layer : config.layers) {
    const auto add_linear = [&](const std::string& name, int64_t inputs, int64_t outputs) {
      shapes[adapter_weight_name(layer, name + ".weight")] = {outputs, inputs};
      if (config.bias) shapes[adapter_weight_name(layer, name + ".bias")] = {outputs};
    };
    add_linear("q_proj", model.hidden_size, query_width);
    add_linear("k_proj", model.hidden_size, key_width);
    add_linear("v_proj", model.hidden_size, value_width);
    add_linear("o_proj", output_width, model.hidden_size);
    shapes[adapter_weight_name(layer, "v_emb0")] = shapes[adapter_weight_name(layer, "v_emb1")] = {output_width};
    if (config.no_match_embedding) shapes[adapter_weight_name(layer, "v_emb_no_match")] = {output_width};
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      shapes[adapter_weight_name(layer, name)] = std::move(shape);
    };
    const AdapterGates gates = adapter_gates(config);
    const bool is_full = config.agreement == Agreement::full;
    if (gates.length) add("g_len", {config.num_heads, kNumLengthBuckets});
    if (gates.hidden) add("g_hidden", {config.num_heads, model.hidden_size});
    if (gates.agreement && !is_full) add("g_dim", {model.hidden_size});
    if (gates.agreement && !is_full) add("g_head", {config.num_heads});
    if (gates.agreement && is_full) add("g_bil", {output_width, model.hidden_size});
    if (gates.length && is_full) add("u_len", {config.num_heads, kNumLengthBuckets, config.value_bits});
  }
  return shapes;
}

}  // namespace rosa::models
