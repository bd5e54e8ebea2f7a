#include "models/adapter.h"

#include <algorithm>
#include <memory>
#include <numeric>

#include "base/error.h"
#include "models/pieces.h"
#include "models/safetensors_weights.h"
#include "models/uniform_start.h"
#include "rosa/operator/symbols.h"

namespace rosa::models {
namespace {

using base::concat;
using base::DataError;
using base::require;

// Where a weight of a gate starts. Every gate starts at 1, whatever the hidden state is, since o_proj starts at 0.
double gate_start(std::string_view full_name) {
  if (full_name.ends_with(".g_dim")) return 0.1;
  return full_name.ends_with(".g_head") ? 1 : 0;
}

// What the shapes alone do not tell; rosa_soft's own files lack it.
std::map<std::string, std::string> sizes_of(const AdapterConfig& config) {
  return {{"num_heads", std::to_string(config.num_heads)},
          {"num_key_value_heads", std::to_string(config.num_key_value_heads)},
          {"query_key_bits", std::to_string(config.query_key_bits)},
          {"value_bits", std::to_string(config.value_bits)}};
}

// In a file's metadata; absent where it is empty.
constexpr const char* kForm = "form";

// int64, of the shape of `lengths`: the bucket of each.
at::Tensor length_buckets(const at::Tensor& lengths) {
  const at::Tensor begins = at::tensor(at::ArrayRef<int64_t>(kLengthBuckets)).to(lengths.device(), at::kInt);
  return at::bucketize(lengths.to(at::kInt).contiguous(), begins, /*out_int32=*/false, /*right=*/true);
}

// table [H,buckets,n], buckets [B,T,H] -> [B,T,H,n]. As a product with rows of one 1, whose backward has one order of
// additions on every device.
at::Tensor look_up(const at::Tensor& table, const at::Tensor& buckets) {
  const at::Tensor chosen = at::one_hot(buckets, kNumLengthBuckets).to(table.scalar_type());  // [B,T,H,buckets]
  return at::einsum("bthk,hkn->bthn", {chosen, table});
}

}  // namespace

AdapterSet::AdapterSet(const AdapterConfig& config, const ModelConfig& model, uint64_t seed)
    : config_(resolve(config, model)) {
  const ShapeMap shapes = adapter_parameter_shapes(config_, model);
  for (const int64_t layer : config_.layers) {
    uint64_t number = 0;
    for (const char* linear : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      const std::vector<int64_t>& shape = shapes.at(adapter_weight_name(layer, concat(linear, ".weight")));
      const auto key = [&](uint64_t tensor) {
        return base::RandomKey{.seed = seed, .sample = tensor, .layer = static_cast<uint64_t>(layer)};
      };
      start_linear(layer, concat(linear, ".weight"), shape, shape[1], key(number++));
      if (config_.bias) start_linear(layer, concat(linear, ".bias"), {shape[0]}, shape[1], key(number));
      ++number;
    }
    start_embeddings(layer);
  }
  for (const auto& [name, shape] : shapes) {
    if (!parameters_.contains(name)) parameters_[name] = at::full(shape, gate_start(name), at::kFloat);
  }
  for (auto& [name, tensor] : parameters_) tensor.requires_grad_(true);
}

void AdapterSet::start_linear(int64_t layer, const std::string& name, const std::vector<int64_t>& shape,
                              int64_t num_inputs, const base::RandomKey& key) {
  at::Tensor& start = parameters_[adapter_weight_name(layer, name)];
  const bool ties_value = config_.tie_start == "query_key_value";
  if (name.starts_with("o_proj") && config_.zero_output_start) {
    start = at::zeros(shape, at::kFloat);
  } else if ((name.starts_with("k_proj") && config_.tie_start != "none") ||
             (name.starts_with("v_proj") && ties_value)) {
    // A key/value head starts as the first of the query heads that read it.
    const std::string query = adapter_weight_name(layer, concat("q", name.substr(1)));
    const int64_t group = config_.num_heads / config_.num_key_value_heads;
    start = parameters_.at(query)
                .view({config_.num_key_value_heads, group, config_.query_key_bits, -1})
                .select(1, 0)
                .reshape(shape)
                .clone();
  } else {
    start = uniform_start(shape, num_inputs, key);
  }
}

void AdapterSet::start_embeddings(int64_t layer) {
  const int64_t width = config_.num_heads * config_.value_bits;
  parameters_[adapter_weight_name(layer, "v_emb0")] = at::full({width}, -config_.value_embedding_scale, at::kFloat);
  parameters_[adapter_weight_name(layer, "v_emb1")] = at::full({width}, config_.value_embedding_scale, at::kFloat);
  if (config_.no_match_embedding) {
    parameters_[adapter_weight_name(layer, "v_emb_no_match")] = at::zeros({width}, at::kFloat);
  }
}

void AdapterSet::use_estimator(const AdapterConfig& config) {
  config_.estimator = config.estimator;
  config_.proxy_kernel = config.proxy_kernel;
  config_.proxy_mask = config.proxy_mask;
  config_.flip_scale = config.flip_scale;
  config_.sufa_head_dim = config.sufa_head_dim;
  config_.position_bias = config.position_bias;
  config_.exact_value_gradient = config.exact_value_gradient;
  config_.query_key_gradient = config.query_key_gradient;
  config_.gradient_dropout = config.gradient_dropout;
}

bool AdapterSet::has_layer(int64_t layer) const {
  return std::binary_search(config_.layers.begin(), config_.layers.end(), layer);
}

OperatorOptions AdapterSet::operator_options(const OperatorOptions& running, int64_t sliding_window) const {
  OperatorOptions options = adapter_operator_options(running, config_);
  if (sliding_window > 0) options.sliding_window = sliding_window;
  if (config_.limit_to_window && options.control == OperatorControl::none) options.control = OperatorControl::windowed;
  return options;
}

const at::Tensor& AdapterSet::weight(int64_t layer, const char* name) const {
  const auto found = parameters_.find(adapter_weight_name(layer, name));
  require(found != parameters_.end(), "adapter weight ", adapter_weight_name(layer, name), " is missing; layer ", layer,
          " has no adapter");
  return found->second;
}

at::Tensor AdapterSet::linear(int64_t layer, const char* name, const at::Tensor& input) const {
  const at::Tensor& matrix = weight(layer, concat(name, ".weight").c_str());
  return config_.bias ? at::linear(input, matrix, weight(layer, concat(name, ".bias").c_str()))
                      : at::linear(input, matrix);
}

at::Tensor AdapterSet::mixed_linear(int64_t layer, const char* name, const at::Tensor& normed,
                                    const at::Tensor& first_input) const {
  if (!config_.mixed_queries || layer == 0) return linear(layer, name, normed);
  require(first_input.defined() && first_input.sizes() == normed.sizes(),
          "mixed_queries need AdapterCall::first_input, of the shape of the layer's input");
  const at::Tensor& matrix = weight(layer, concat(name, ".weight").c_str());
  const int64_t half = matrix.size(0) / 2;
  const at::Tensor mixed = at::cat(
      {at::linear(first_input, matrix.narrow(0, 0, half)), at::linear(normed, matrix.narrow(0, half, half))}, -1);
  return config_.bias ? mixed + weight(layer, concat(name, ".bias").c_str()) : mixed;
}

// The logits of query, key and value, [B,T,heads*bits] each.
std::vector<at::Tensor> AdapterSet::rows(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) const {
  const at::Tensor input = normed.to(at::kFloat);
  // A view of the layer's own, which collects its gradient: whatever runs when, the layers' are added in one order.
  const at::Tensor first = first_input.defined() ? first_input.to(at::kFloat).view_as(first_input) : first_input;
  return {mixed_linear(layer, "q_proj", input, first), mixed_linear(layer, "k_proj", input, first),
          mixed_linear(layer, "v_proj", input, first)};
}

CodeLogits AdapterSet::by_heads(const std::vector<at::Tensor>& rows) const {
  const auto heads = [](const at::Tensor& all, int64_t num_heads, int64_t bits) {
    return all.view({all.size(0), all.size(1), num_heads, bits}).transpose(1, 2);
  };
  return {heads(rows[0], config_.num_heads, config_.query_key_bits),
          heads(rows[1], config_.num_key_value_heads, config_.query_key_bits),
          heads(rows[2], config_.num_key_value_heads, config_.value_bits)};
}

CodeLogits AdapterSet::project(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) const {
  return by_heads(rows(layer, normed, first_input));
}

namespace {

std::vector<at::Tensor> inputs_of(const at::Tensor& normed, const at::Tensor& first_input) {
  return first_input.defined() ? std::vector<at::Tensor>{normed, first_input} : std::vector<at::Tensor>{normed};
}
at::Tensor first_of(const std::vector<at::Tensor>& inputs) { return inputs.size() > 1 ? inputs[1] : at::Tensor(); }

// Null: not to be counted. A layer that is run again has its automata's record.
GateCounts* counts_of(int64_t layer, const AdapterCall& call) {
  const bool is_again = call.recorded != nullptr && call.recorded->defined();
  return call.gate_statistics == nullptr || is_again ? nullptr : &(*call.gate_statistics)[layer];
}

// Positions first .. first + count - 1 of a result; undefined tensors stay so.
HardResult part_of(const HardResult& hard, const Piece& piece) {
  const auto part = [&piece](const at::Tensor& whole) {
    return whole.defined() ? whole.narrow(2, piece.first, piece.count).contiguous() : whole;
  };
  return {part(hard.value_symbols), part(hard.matched),      part(hard.positions),
          part(hard.lengths),       part(hard.place_counts), part(hard.place_sums)};
}

}  // namespace

CodeLogits AdapterSet::project(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const {
  if (call.sequence_chunk == 0) return project(layer, normed, call.first_input);
  return by_heads(run_in_pieces(
      [this, layer](const Piece&, const std::vector<at::Tensor>& inputs) {
        return rows(layer, inputs[0], first_of(inputs));
      },
      inputs_of(normed, call.first_input), layer_parameters(layer), {call.sequence_chunk}));
}

// The logits of one piece at a time.
OperatorSymbols AdapterSet::symbols_in_pieces(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const {
  const at::NoGradGuard no_gradient;
  const std::vector<at::Tensor> packed = run_in_pieces(
      [this, layer](const Piece&, const std::vector<at::Tensor>& inputs) {
        const CodeLogits logits = project(layer, inputs[0], first_of(inputs));
        std::vector<at::Tensor> symbols;
        for (const at::Tensor& of_heads : {logits.query, logits.key, logits.value}) {
          symbols.push_back(pack_symbols(of_heads).transpose(1, 2));
        }
        return symbols;
      },
      inputs_of(normed, call.first_input), {}, {call.sequence_chunk});
  const auto by_head = [](const at::Tensor& symbols) { return symbols.transpose(1, 2).contiguous(); };
  return {by_head(packed[0]),     by_head(packed[1]), by_head(packed[2]),
          config_.query_key_bits, config_.value_bits, call.documents};
}

// Of what the automata gave, or of the operator's output where its bits have a gradient.
at::Tensor AdapterSet::output_in_pieces(int64_t layer, const HardResult& hard, const OperatorOutput& result,
                                        const at::Tensor& gate_input, const AdapterCall& call,
                                        GateCounts* gates) const {
  std::vector<at::Tensor> inputs = {gate_input}, parameters = layer_parameters(layer);
  if (result.bits.defined()) inputs.push_back(result.bits.transpose(1, 2));
  parameters.push_back(call.gate_norm_weight);
  const auto part = [this, layer, hard, matched = result.matched, lengths = result.lengths, norm = call.gate_norm,
                     gates](const Piece& piece, const std::vector<at::Tensor>& own) {
    OperatorOutput of_piece;
    if (own.size() > 1) {
      of_piece = {own[1].transpose(1, 2), matched.narrow(2, piece.first, piece.count),
                  lengths.defined() ? lengths.narrow(2, piece.first, piece.count) : lengths};
    } else {
      const HardResult retrieved = part_of(hard, piece);
      of_piece = {hard_bits(retrieved, config_.value_bits, at::kFloat), retrieved.matched, retrieved.lengths};
    }
    // The pieces run again in the backward, where gradients are on.
    GateCounts* const counts = at::GradMode::is_enabled() ? nullptr : gates;
    return std::vector<at::Tensor>{output(layer, of_piece, norm ? norm(own[0]) : own[0], counts)};
  };
  return run_in_pieces(part, inputs, parameters, {call.sequence_chunk})[0];
}

// The gates [B,T,H] at lengths in `buckets` [B,T,H] and hidden states u [B,T,hidden].
at::Tensor AdapterSet::gate(int64_t layer, const OperatorOutput& result, const at::Tensor& buckets,
                            const at::Tensor& u) const {
  const AdapterGates gates = adapter_gates(config_);
  at::Tensor z;
  const auto add = [&z](const at::Tensor& term) { z = z.defined() ? z + term : term; };
  if (gates.length) add(look_up(weight(layer, "g_len").unsqueeze(2), buckets).squeeze(3));
  if (gates.hidden) add(at::linear(u, weight(layer, "g_hidden")));
  if (gates.agreement) {
    const bool is_full = config_.agreement == Agreement::full;
    const at::Tensor expected =
        is_full ? at::linear(u, weight(layer, "g_bil"))
                : at::linear(u * weight(layer, "g_dim"), weight(layer, "o_proj.weight").t());  // [B,T,H*M]
    const at::Tensor signs = (2 * result.bits.transpose(1, 2) - 1) * result.matched.transpose(1, 2).unsqueeze(3);
    const at::Tensor agreement = (signs * expected.view(signs.sizes())).sum(3);
    add(is_full ? agreement : agreement * weight(layer, "g_head"));
  }
  return 2 * at::sigmoid(z);
}

at::Tensor AdapterSet::output(int64_t layer, const OperatorOutput& result, const at::Tensor& gate_input,
                              GateCounts* counts) const {
  const at::Tensor bits = result.bits.transpose(1, 2);  // [B,T,H,M]
  const auto per_head = [&](const char* name) {
    return weight(layer, name).view({config_.num_heads, config_.value_bits});
  };
  // lerp is exact at 0 and at 1.
  at::Tensor values = at::lerp(per_head("v_emb0"), per_head("v_emb1"), bits);
  if (config_.no_match_embedding) {
    values = at::where(result.matched.transpose(1, 2).unsqueeze(3), values, per_head("v_emb_no_match"));
  }
  const AdapterGates gates = adapter_gates(config_);
  if (gates.any()) {
    at::Tensor buckets;
    if (gates.length) buckets = length_buckets(result.lengths.transpose(1, 2));
    if (gates.length && config_.agreement == Agreement::full)
      values = values + look_up(weight(layer, "u_len"), buckets);
    const at::Tensor gate_values = gate(layer, result, buckets, gate_input.to(at::kFloat));
    if (counts != nullptr) counts->add(gate_values);
    values = values * gate_values.unsqueeze(3);
  }
  const at::Tensor output = linear(layer, "o_proj", values.reshape({bits.size(0), bits.size(1), -1}));
  return config_.output_scale == 1 ? output : output * config_.output_scale;
}

FinishAdapter AdapterSet::begin(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const {
  require(call.executor != nullptr, "an adapter needs ForwardOptions::executor, which runs the automata");
  OperatorOptions options = call.options;
  options.layer = layer;
  GateCounts* const gates = counts_of(layer, call);  // before the automata's record is filled
  const bool in_pieces = call.sequence_chunk > 0;
  const bool has_codes = call.options.training && call.codes.has_losses();
  if (in_pieces && !has_codes && !has_logit_gradient(options)) {
    const bool is_recorded = call.recorded != nullptr && call.recorded->defined();
    const auto begun =
        std::make_shared<RosaCall>(is_recorded ? OperatorSymbols() : symbols_in_pieces(layer, normed, call), options,
                                   *call.executor, call.recorded);
    return [this, layer, begun, call, gates](const at::Tensor& gate_input) {
      return output_in_pieces(layer, begun->finish_hard(), {}, gate_input, call, gates);
    };
  }
  CodeLogits projections = project(layer, normed, call);
  if (!config_.query_key_gradient) {
    projections.query = projections.query.detach();
    projections.key = projections.key.detach();
  }
  if (call.options.training) {
    projections = train_codes(projections, call.codes, config_.gradient_dropout, call.options.bits_tau, layer,
                              static_cast<int64_t>(config_.layers.size()));
  }
  const auto begun = std::make_shared<RosaCall>(
      OperatorInput{projections.query, projections.key, projections.value, {}, call.documents}, options, *call.executor,
      call.recorded);
  if (in_pieces) {
    return [this, layer, begun, call, gates](const at::Tensor& gate_input) {
      return output_in_pieces(layer, {}, begun->finish(), gate_input, call, gates);
    };
  }
  return [this, layer, begun, gates](const at::Tensor& gate_input) {
    return output(layer, begun->finish(), gate_input, gates);
  };
}

at::Tensor AdapterSet::forward(int64_t layer, const at::Tensor& normed, const AdapterCall& call) const {
  return begin(layer, normed, call)(normed);
}

AdapterSymbols AdapterSet::symbols(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) const {
  const at::NoGradGuard no_gradient;
  const CodeLogits projections = project(layer, normed, first_input);
  return {pack_symbols(projections.query), pack_symbols(projections.key)};
}

FinishAdapter AdapterSet::append(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input,
                                 RosaState& state, HostExecutor& executor) const {
  const at::NoGradGuard no_gradient;
  const CodeLogits projections = project(layer, normed, first_input);
  const OperatorOutput result = state.append(projections.query, projections.key, projections.value, executor,
                                             adapter_gates(config_).length, config_.candidates);
  return [this, layer, result](const at::Tensor& gate_input) {
    const at::NoGradGuard no_gradient_either;
    return output(layer, result, gate_input);
  };
}

RosaState AdapterSet::make_state(int64_t batch) const {
  return RosaState(batch, config_.num_heads, config_.num_key_value_heads, config_.query_key_bits, config_.value_bits);
}

std::vector<at::Tensor> AdapterSet::layer_parameters(int64_t layer) const {
  std::vector<at::Tensor> result;
  const std::string prefix = adapter_weight_name(layer, "");
  for (auto entry = parameters_.lower_bound(prefix); entry != parameters_.end(); ++entry) {
    if (entry->first.compare(0, prefix.size(), prefix) != 0) break;
    result.push_back(entry->second);
  }
  return result;
}

void AdapterSet::save(const std::filesystem::path& path) const {
  std::map<std::string, std::string> metadata = sizes_of(config_);
  const std::string form = adapter_form(config_);
  if (!form.empty()) metadata[kForm] = form;
  write_tensors(path, parameters_, metadata);
}

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
  if (metadata.contains("num_heads")) {  // written by save(): a checkpoint's own file says nothing of itself
    const auto found = metadata.find(kForm);
    const auto in_words = [](const std::string& form) { return form.empty() ? "place=attention" : form; };
    const std::string form = found == metadata.end() ? "" : found->second;
    require<DataError>(
        form == adapter_form(config_), path.string(), ": the adapters in the file have ", in_words(form), ", these ",
        in_words(adapter_form(config_)),
        "; set adapter.place, mixed_queries, candidates and output_scale to what they were trained with");
  }
  ShapeMap actual, expected;
  for (const auto& [name, tensor] : parameters_) expected[name] = tensor.sizes().vec();
  for (const int64_t layer : config_.layers) {
    // Files of adapters without the third vector: no match gives bits 0, that is v_emb0.
    const auto bits_zero = tensors.find(adapter_weight_name(layer, "v_emb0"));
    if (config_.no_match_embedding && bits_zero != tensors.end()) {
      tensors.emplace(adapter_weight_name(layer, "v_emb_no_match"), bits_zero->second);
    }
  }
  for (const auto& [name, tensor] : tensors) actual[name] = tensor.sizes().vec();
  check_names_and_shapes(actual, expected, path.string(),
                         "do the adapter's layers, sizes, bias and no_match_embedding fit the file?");
  const at::NoGradGuard no_gradient;
  for (auto& [name, parameter] : parameters_) parameter.copy_(tensors.at(name));
}

}  // namespace rosa::models
