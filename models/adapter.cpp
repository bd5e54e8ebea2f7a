#include "models/adapter.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "models/safetensors_weights.h"
#include "rosa/operator/qkv_estimator.h"

namespace rosa::models {
namespace {

using base::concat;
using base::DataError;
using base::require;
using base::Role;

constexpr int64_t kMaxBits = 63;
constexpr int64_t kMaxWidth = 65536;  // of the projections: heads times bits

std::string full_name(int64_t layer, const char* name) {
  return concat("model.layers.", layer, ".self_attn.rosa_attn.", name);
}

// Uniform in +-1/sqrt(inputs): element i of tensor number `tensor` of a layer is a function of the key alone.
at::Tensor uniform_start(at::IntArrayRef shape, int64_t num_inputs, uint64_t seed, int64_t layer, uint64_t tensor) {
  at::Tensor result = at::empty(shape, at::kFloat);
  const double bound = 1 / std::sqrt(static_cast<double>(num_inputs));
  base::RandomStream stream({.seed = seed, .step = 0, .sample = tensor, .layer = static_cast<uint64_t>(layer)});
  float* values = result.mutable_data_ptr<float>();
  for (int64_t i = 0; i < result.numel(); ++i) {
    values[i] = static_cast<float>(bound * (2 * stream.uniform() - 1));
  }
  return result;
}

// What the shapes alone do not tell; rosa_soft's own files lack it.
std::map<std::string, std::string> sizes_of(const AdapterConfig& config) {
  return {{"num_heads", std::to_string(config.num_heads)},
          {"num_key_value_heads", std::to_string(config.num_key_value_heads)},
          {"query_key_bits", std::to_string(config.query_key_bits)},
          {"value_bits", std::to_string(config.value_bits)}};
}

std::string estimator_help() {
  std::string help = "How the gradient passes the hard operator:";
  for (const QkvEstimator* estimator : qkv_estimators()) {
    help += concat(estimator == qkv_estimators().front() ? " " : "; ", estimator->name(), ": ", estimator->summary());
  }
  return help + ".";
}

// `options` with what the configuration says.
OperatorOptions with_config(OperatorOptions options, const AdapterConfig& config) {
  options.estimator = &find_qkv_estimator(config.estimator);
  options.proxy_kernel = config.proxy_kernel;
  options.proxy_mask = config.proxy_mask;
  options.flip_scale = config.flip_scale;
  options.sufa_head_dim = config.sufa_head_dim;
  options.position_bias = config.position_bias;
  options.exact_value_gradient = config.exact_value_gradient;
  return options;
}

}  // namespace

void describe(base::FieldVisitor& visitor, AdapterConfig& config) {
  visitor.field("layers", config.layers, Role::recipe, "Decoder layers that get an adapter; empty: all.", {0, 4095});
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
  visitor.field("position_bias", config.position_bias, Role::recipe, "Whether SUFA prefers late positions a little.");
  visitor.field(
      "exact_value_gradient", config.exact_value_gradient, Role::recipe,
      "Whether value logits get the straight-through gradient of the retrieved row instead of the estimator's.");
  visitor.field("query_key_gradient", config.query_key_gradient, Role::recipe,
                "Whether the estimator gives queries and keys a gradient; if not, they are fixed hashes of the layer's "
                "input (freeze their projections), and with exact_value_gradient no estimator runs.");
}

AdapterConfig rosa_soft_adapter_config() {
  AdapterConfig config;
  config.tie_start = "none";
  config.value_embedding_scale = 1e-5;
  config.zero_output_start = false;
  config.no_match_embedding = false;
  config.proxy_mask = ProxyMask::sliding_window;
  config.exact_value_gradient = false;
  return config;
}

namespace {

int64_t default_num_heads(const AdapterConfig& config, const Qwen3Config& model) {
  return std::max<int64_t>(1, model.hidden_size / config.query_key_bits);
}

void check_heads(base::ConfigProblems& problems, int64_t num_heads, int64_t num_key_value_heads) {
  const bool divides = num_key_value_heads == 0 || num_heads % num_key_value_heads == 0;
  problems.require(divides, {"num_key_value_heads", "num_heads"}, "is ", num_key_value_heads,
                   "; expected a divisor of ", problems.full_key("num_heads"), ", which is ", num_heads);
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
    check_heads(problems, config.num_heads, config.num_key_value_heads);
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
  if (!has_good_bits) return;
  const OperatorOptions options = with_config({}, config);
  const std::string refusal = options.estimator->refusal(config.query_key_bits, config.value_bits, options);
  problems.require(
      refusal.empty(),
      {key_of_refusal(refusal), "estimator", "proxy_kernel", "sufa_head_dim", "query_key_bits", "value_bits"}, refusal);
}

void check(base::ConfigProblems& problems, const AdapterConfig& config, const Qwen3Config& model) {
  for (const int64_t layer : config.layers) {
    problems.require(layer >= 0 && layer < model.num_hidden_layers, {"layers"}, "holds ", layer,
                     "; the model has layers 0 to ", model.num_hidden_layers - 1);
  }
  if (config.num_heads != 0) return;
  check_heads(problems, default_num_heads(config, model), config.num_key_value_heads);
}

AdapterConfig resolve(AdapterConfig config, const Qwen3Config& model) {
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

std::map<std::string, std::vector<int64_t>> adapter_parameter_shapes(const AdapterConfig& config,
                                                                     const Qwen3Config& model) {
  const int64_t query_width = config.num_heads * config.query_key_bits;
  const int64_t key_width = config.num_key_value_heads * config.query_key_bits;
  const int64_t value_width = config.num_key_value_heads * config.value_bits;
  const int64_t output_width = config.num_heads * config.value_bits;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const int64_t layer : config.layers) {
    const auto add_linear = [&](const std::string& name, int64_t inputs, int64_t outputs) {
      shapes[full_name(layer, (name + ".weight").c_str())] = {outputs, inputs};
      if (config.bias) shapes[full_name(layer, (name + ".bias").c_str())] = {outputs};
    };
    add_linear("q_proj", model.hidden_size, query_width);
    add_linear("k_proj", model.hidden_size, key_width);
    add_linear("v_proj", model.hidden_size, value_width);
    add_linear("o_proj", output_width, model.hidden_size);
    shapes[full_name(layer, "v_emb0")] = shapes[full_name(layer, "v_emb1")] = {output_width};
    if (config.no_match_embedding) shapes[full_name(layer, "v_emb_no_match")] = {output_width};
  }
  return shapes;
}

AdapterSet::AdapterSet(const AdapterConfig& config, const Qwen3Config& model, uint64_t seed)
    : config_(resolve(config, model)) {
  const int64_t hidden = model.hidden_size;
  const int64_t query_width = config_.num_heads * config_.query_key_bits;
  const int64_t key_width = config_.num_key_value_heads * config_.query_key_bits;
  const int64_t value_width = config_.num_key_value_heads * config_.value_bits;
  const int64_t output_width = config_.num_heads * config_.value_bits;
  for (const int64_t layer : config_.layers) {
    const auto add_linear = [&](const std::string& name, int64_t inputs, int64_t outputs, uint64_t number) {
      parameters_[full_name(layer, (name + ".weight").c_str())] =
          uniform_start({outputs, inputs}, inputs, seed, layer, 2 * number);
      if (!config_.bias) return;
      parameters_[full_name(layer, (name + ".bias").c_str())] =
          uniform_start({outputs}, inputs, seed, layer, 2 * number + 1);
    };
    add_linear("q_proj", hidden, query_width, 0);
    add_linear("k_proj", hidden, key_width, 1);
    add_linear("v_proj", hidden, value_width, 2);
    add_linear("o_proj", output_width, hidden, 3);
    apply_start_options(layer);
  }
  for (auto& [name, tensor] : parameters_) tensor.requires_grad_(true);
}

void AdapterSet::apply_start_options(int64_t layer) {
  const int64_t width = config_.num_heads * config_.value_bits;
  parameters_[full_name(layer, "v_emb0")] = at::full({width}, -config_.value_embedding_scale, at::kFloat);
  parameters_[full_name(layer, "v_emb1")] = at::full({width}, config_.value_embedding_scale, at::kFloat);
  if (config_.no_match_embedding) {
    parameters_[full_name(layer, "v_emb_no_match")] = at::zeros({width}, at::kFloat);
  }
  // A key/value head starts as the first of the query heads that read it.
  const int64_t group = config_.num_heads / config_.num_key_value_heads;
  for (const char* kind : {"weight", "bias"}) {
    if (kind[0] == 'b' && !config_.bias) continue;
    const auto named = [&](const char* projection) -> at::Tensor& {
      return parameters_.at(full_name(layer, concat(projection, ".", kind).c_str()));
    };
    const at::Tensor& query = named("q_proj");
    const at::Tensor first_of_group =
        query.view({config_.num_key_value_heads, group, config_.query_key_bits, -1}).select(1, 0);
    if (config_.tie_start != "none") named("k_proj").copy_(first_of_group.reshape(named("k_proj").sizes()));
    if (config_.tie_start == "query_key_value") named("v_proj").copy_(first_of_group.reshape(named("v_proj").sizes()));
    if (config_.zero_output_start) named("o_proj").zero_();
  }
}

bool AdapterSet::has_layer(int64_t layer) const {
  return std::binary_search(config_.layers.begin(), config_.layers.end(), layer);
}

OperatorOptions AdapterSet::operator_options(const OperatorOptions& running, int64_t sliding_window) const {
  OperatorOptions options = with_config(running, config_);
  if (sliding_window > 0) options.sliding_window = sliding_window;
  return options;
}

const at::Tensor& AdapterSet::weight(int64_t layer, const char* name) const {
  const auto found = parameters_.find(full_name(layer, name));
  require(found != parameters_.end(), "adapter weight ", full_name(layer, name), " is missing; layer ", layer,
          " has no adapter");
  return found->second;
}

at::Tensor AdapterSet::linear(int64_t layer, const char* name, const at::Tensor& input) const {
  const at::Tensor& matrix = weight(layer, concat(name, ".weight").c_str());
  return config_.bias ? at::linear(input, matrix, weight(layer, concat(name, ".bias").c_str()))
                      : at::linear(input, matrix);
}

AdapterSet::Projections AdapterSet::project(int64_t layer, const at::Tensor& normed) const {
  const at::Tensor input = normed.to(at::kFloat);
  const auto heads = [&](const char* name, int64_t num_heads, int64_t bits) {
    return linear(layer, name, input).view({input.size(0), input.size(1), num_heads, bits}).transpose(1, 2);
  };
  return {heads("q_proj", config_.num_heads, config_.query_key_bits),
          heads("k_proj", config_.num_key_value_heads, config_.query_key_bits),
          heads("v_proj", config_.num_key_value_heads, config_.value_bits)};
}

at::Tensor AdapterSet::output(int64_t layer, const OperatorOutput& result) const {
  const at::Tensor bits = result.bits.transpose(1, 2);  // [B,T,H,M]
  const auto per_head = [&](const char* name) {
    return weight(layer, name).view({config_.num_heads, config_.value_bits});
  };
  // lerp is exact at 0 and at 1.
  at::Tensor values = at::lerp(per_head("v_emb0"), per_head("v_emb1"), bits);
  if (config_.no_match_embedding) {
    values = at::where(result.matched.transpose(1, 2).unsqueeze(3), values, per_head("v_emb_no_match"));
  }
  return linear(layer, "o_proj", values.reshape({bits.size(0), bits.size(1), bits.size(2) * bits.size(3)}));
}

at::Tensor AdapterSet::forward(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const {
  return begin(layer, normed, call)();
}

FinishAdapter AdapterSet::begin(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const {
  require(call.executor != nullptr, "an adapter needs ForwardOptions::executor, which runs the automata");
  Projections projections = project(layer, normed);
  if (!config_.query_key_gradient) {
    projections.query = projections.query.detach();
    projections.key = projections.key.detach();
  }
  OperatorOptions options = call.options;
  options.layer = layer;
  const auto begun = std::make_shared<RosaCall>(
      OperatorInput{projections.query, projections.key, projections.value, {}, call.documents}, options, *call.executor,
      call.recorded);
  return [this, layer, begun] { return output(layer, begun->finish()); };
}

at::Tensor AdapterSet::append(int64_t layer, const at::Tensor& normed, RosaState& state, HostExecutor& executor) const {
  const at::NoGradGuard no_gradient;
  const Projections projections = project(layer, normed);
  return output(layer, state.append(projections.query, projections.key, projections.value, executor));
}

RosaState AdapterSet::make_state(int64_t batch) const {
  return RosaState(batch, config_.num_heads, config_.num_key_value_heads, config_.query_key_bits, config_.value_bits);
}

std::vector<at::Tensor> AdapterSet::layer_parameters(int64_t layer) const {
  std::vector<at::Tensor> result;
  const std::string prefix = full_name(layer, "");
  for (auto entry = parameters_.lower_bound(prefix); entry != parameters_.end(); ++entry) {
    if (entry->first.compare(0, prefix.size(), prefix) != 0) break;
    result.push_back(entry->second);
  }
  return result;
}

void AdapterSet::save(const std::filesystem::path& path) const { write_tensors(path, parameters_, sizes_of(config_)); }

void AdapterSet::load(const std::filesystem::path& path) {
  std::map<std::string, std::string> metadata;
  TensorMap tensors = read_tensors(path, &metadata);
  set_weights(std::move(tensors), metadata, path);
}

std::vector<std::string> AdapterSet::load_from_student(const std::filesystem::path& path) {
  std::map<std::string, std::string> metadata;
  std::vector<std::string> unused;
  const auto is_of_adapter = [](const std::string& name) { return name.find(".rosa_attn.") != std::string::npos; };
  TensorMap tensors = read_wanted_tensors(path, is_of_adapter, metadata, unused);
  require<DataError>(!tensors.empty(), path.string(), ": holds no adapter: none of its ", unused.size(),
                     " tensors is called model.layers.N.self_attn.rosa_attn.*");
  set_weights(std::move(tensors), metadata, path);
  return unused;
}

void AdapterSet::set_weights(std::map<std::string, at::Tensor> tensors,
                             const std::map<std::string, std::string>& metadata, const std::filesystem::path& path) {
  for (const auto& [key, expected] : sizes_of(config_)) {
    const auto found = metadata.find(key);
    require<DataError>(found == metadata.end() || found->second == expected, path.string(), ": ", key, " is ",
                       found == metadata.end() ? "" : found->second, " in the file; this adapter's is ", expected);
  }
  ShapeMap actual, expected;
  for (const auto& [name, tensor] : parameters_) expected[name] = tensor.sizes().vec();
  for (const int64_t layer : config_.layers) {
    // Files of adapters without the third vector: no match gives bits 0, that is v_emb0.
    const auto bits_zero = tensors.find(full_name(layer, "v_emb0"));
    if (config_.no_match_embedding && bits_zero != tensors.end()) {
      tensors.emplace(full_name(layer, "v_emb_no_match"), bits_zero->second);
    }
  }
  for (const auto& [name, tensor] : tensors) actual[name] = tensor.sizes().vec();
  check_names_and_shapes(actual, expected, path.string(),
                         "do the adapter's layers, sizes, bias and no_match_embedding fit the file?");
  const at::NoGradGuard no_gradient;
  for (auto& [name, parameter] : parameters_) parameter.copy_(tensors.at(name));
}

}  // namespace rosa::models
