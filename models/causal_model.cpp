#include "models/causal_model.h"

#include <limits>

#include "base/error.h"
#include "base/random.h"
#include "models/adapter.h"
#include "models/attention.h"
#include "models/pieces.h"
#include "models/rms_norm.h"
#include "models/safetensors_weights.h"
#include "rosa/operator/device_span.h"

namespace rosa::models {
namespace {

using base::concat;
using base::DataError;
using base::require;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kFinalNorm = "model.norm.weight";
constexpr const char* kOutputProjection = "lm_head.weight";

std::string layer_name(int64_t layer, const char* name) { return concat("model.layers.", layer, ".", name); }

// The rotary embedding of transformers: pairs are (i, i + d/2). `sin` has its first half negated.
at::Tensor rotate(const at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = heads.size(3) / 2;
  const at::Tensor swapped = at::cat({heads.narrow(3, half, half), heads.narrow(3, 0, half)}, 3);
  return at::addcmul(heads * cos, swapped, sin);
}

void check_tokens(const at::Tensor& input_ids, int64_t vocab_size) {
  require(input_ids.dim() == 2 && input_ids.scalar_type() == at::kLong && input_ids.numel() > 0, "input_ids has shape ",
          input_ids.sizes(), " and dtype ", input_ids.scalar_type(), "; expected int64 [batch, length], not empty");
  const auto [low, high] = at::aminmax(input_ids);
  const int64_t smallest = low.item<int64_t>();
  const int64_t largest = high.item<int64_t>();
  require<DataError>(smallest >= 0 && largest < vocab_size, "token id ", smallest < 0 ? smallest : largest,
                     " is outside the model's vocabulary; expected 0 to ", vocab_size - 1,
                     "; was the data made with this model's tokenizer?");
}

}  // namespace

std::map<std::string, std::vector<int64_t>> parameter_shapes(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t query_width = config.num_attention_heads * config.head_dim;
  const int64_t key_width = config.num_key_value_heads * config.head_dim;
  const FamilyTraits& family = traits(config.family);
  ShapeMap shapes = {{kEmbedding, {config.vocab_size, hidden}}, {kFinalNorm, {hidden}}};
  if (!config.tie_word_embeddings) shapes[kOutputProjection] = {config.vocab_size, hidden};
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const auto add = [&](const char* name, std::vector<int64_t> shape) {
      shapes[layer_name(layer, name)] = std::move(shape);
    };
    add("input_layernorm.weight", {hidden});
    add("self_attn.q_proj.weight", {query_width, hidden});
    add("self_attn.k_proj.weight", {key_width, hidden});
    add("self_attn.v_proj.weight", {key_width, hidden});
    add("self_attn.o_proj.weight", {hidden, query_width});
    if (family.query_key_norms) {
      add("self_attn.q_norm.weight", {config.head_dim});
      add("self_attn.k_norm.weight", {config.head_dim});
    }
    if (family.query_key_value_bias) {
      add("self_attn.q_proj.bias", {query_width});
      add("self_attn.k_proj.bias", {key_width});
      add("self_attn.v_proj.bias", {key_width});
    }
    add("post_attention_layernorm.weight", {hidden});
    add("mlp.gate_proj.weight", {config.intermediate_size, hidden});
    add("mlp.up_proj.weight", {config.intermediate_size, hidden});
    add("mlp.down_proj.weight", {hidden, config.intermediate_size});
  }
  return shapes;
}

CausalModel::CausalModel(ModelConfig config, std::map<std::string, at::Tensor> parameters)
    : config_(std::move(config)), parameters_(std::move(parameters)) {
  base::require_good(config_);
  ShapeMap actual;
  for (const auto& [name, tensor] : parameters_) actual[name] = tensor.sizes().vec();
  check_names_and_shapes(actual, parameter_shapes(config_), "the model", "expected the weights of the configuration");
  compute_options_ = parameters_.at(kEmbedding).options().requires_grad(false);
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    // Null where the family has no such weight.
    const auto weight = [&](const char* name) -> const at::Tensor* {
      const auto found = parameters_.find(layer_name(layer, name));
      return found == parameters_.end() ? nullptr : &found->second;
    };
    LayerWeights& weights = layers_.emplace_back();
    weights.input_norm = weight("input_layernorm.weight");
    weights.q_norm = weight("self_attn.q_norm.weight");
    weights.k_norm = weight("self_attn.k_norm.weight");
    weights.post_attention_norm = weight("post_attention_layernorm.weight");
    for (size_t i = 0; i < kNumProjections; ++i) {
      const std::string name = kProjectionNames[i];
      weights.projections[i] = {weight((name + ".weight").c_str()), weight((name + ".bias").c_str())};
    }
  }
}

namespace {

// What the files of a folder should hold, by its config.json.
struct ExpectedFiles {
  explicit ExpectedFiles(const std::filesystem::path& folder) : config(load_model_config(folder)) {
    if (config.tie_word_embeddings) tied = {kOutputProjection, kEmbedding};
    shapes = [folder, this](int64_t num_tensors) {
      require<DataError>(config.num_hidden_layers <= num_tensors, (folder / "config.json").string(),
                         ": num_hidden_layers is ", config.num_hidden_layers, ", but there are only ", num_tensors,
                         " tensors: do config.json and the weights belong together?");
      return parameter_shapes(config);
    };
  }
  ExpectedFiles(const ExpectedFiles&) = delete;
  ExpectedFiles& operator=(const ExpectedFiles&) = delete;

  ModelConfig config;
  std::pair<std::string, std::string> tied;
  ExpectedShapes shapes;
};

}  // namespace

CausalModel CausalModel::load(const std::filesystem::path& folder, const std::string& compute_dtype,
                              WeightStorage storage) {
  const at::ScalarType dtype = compute_dtype_of_name(compute_dtype);
  ExpectedFiles expected(folder);
  MappedFiles files;
  TensorMap weights = read_model_weights(folder, expected.shapes, dtype, expected.tied,
                                         storage == WeightStorage::mapped ? &files : nullptr);
  CausalModel model(std::move(expected.config), std::move(weights));
  model.files_ = std::move(files);
  return model;
}

void CausalModel::move_to(const at::Device& device) {
  for (auto& entry : parameters_) {
    if (!entry.second.is_meta()) entry.second = entry.second.to(device);
  }
  if (!device.is_cpu()) files_.clear();
}

void CausalModel::drop_projections(int64_t layer) {
  for (const char* name : kProjectionNames) {
    at::Tensor& weight = parameters_.at(layer_name(layer, concat(name, ".weight").c_str()));
    const auto* first = static_cast<const std::byte*>(weight.is_cpu() ? weight.const_data_ptr() : nullptr);
    for (const auto& file : files_) {
      for (const auto& [tensor_name, view] : file->tensors()) {
        if (view.bytes.data() == first) file->file().release(view.bytes);
      }
    }
    weight = at::empty(weight.sizes(), weight.options().device(at::kMeta));
  }
}

void CausalModel::require_same_files() const {
  for (const auto& file : files_) file->file().require_same_content();
}

std::string CausalModel::trouble_with_files() const {
  for (const auto& file : files_) {
    if (std::string trouble = file->file().trouble_with_name(); !trouble.empty()) return trouble;
  }
  return "";
}

void CausalModel::check_files(const std::filesystem::path& folder) {
  const ExpectedFiles expected(folder);
  check_model_weights(folder, expected.shapes, expected.tied);
}

CausalModel CausalModel::random(const ModelConfig& config, uint64_t seed) {
  base::require_good(config);
  TensorMap weights;
  uint64_t number = 0;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    const bool is_bias = name.ends_with(".bias");
    at::Tensor tensor = is_bias ? at::zeros(shape, at::kFloat) : at::ones(shape, at::kFloat);
    if (shape.size() == 2) {
      base::RandomStream stream({.seed = seed, .sample = number});
      float* values = tensor.mutable_data_ptr<float>();
      for (int64_t i = 0; i < tensor.numel(); ++i) {
        values[i] = static_cast<float>(config.initializer_range * stream.normal());
      }
    }
    weights[name] = std::move(tensor);
    ++number;
  }
  return CausalModel(config, std::move(weights));
}

void check_spans(const ForwardOptions& options, int64_t num_layers) {
  require(options.sliding_window >= 0, "sliding_window is ", options.sliding_window, "; expected 0 or more");
  require(options.sink_tokens >= 0, "sink_tokens is ", options.sink_tokens, "; expected 0 or more");
  require(options.layer_windows.empty() || static_cast<int64_t>(options.layer_windows.size()) == num_layers,
          "layer_windows has ", options.layer_windows.size(), " entries; expected one for each of ", num_layers,
          " layers");
  for (const int64_t window : options.layer_windows) {
    require(window >= 0, "layer_windows holds ", window, "; expected 0 or more");
  }
}

namespace {

// Whether a layer's attention has to see the whole sequence at once.
bool is_whole(const ForwardOptions& options, int64_t layer, int64_t length) {
  const AttentionSpan span = options.span(layer);
  return span.window == 0 || span.window >= length || span.sinks > 0;
}

// Layers that see the same share one mask.
AttentionFunction attention_function(const ForwardOptions& options, int64_t batch, int64_t length,
                                     const at::Tensor& like) {
  std::vector<std::pair<AttentionSpan, CausalAttention>> kinds;
  const auto add = [&](int64_t layer) {
    const AttentionSpan span = options.span(layer);
    if (options.sequence_chunk > 0 && !is_whole(options, layer, length)) return;
    for (const auto& [known, attention] : kinds) {
      if (known == span) return;
    }
    kinds.emplace_back(span, CausalAttention(batch, length, span, options.documents, like));
  };
  if (options.layer_windows.empty()) add(0);
  for (size_t layer = 0; layer < options.layer_windows.size(); ++layer) add(static_cast<int64_t>(layer));
  return [kinds, options](int64_t layer, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    const AttentionSpan span = options.span(layer);
    size_t kind = 0;
    while (!(kinds[kind].first == span)) ++kind;
    return kinds[kind].second(query, key, value);
  };
}

}  // namespace

at::Tensor CausalModel::hidden_states(const at::Tensor& input_ids, const ForwardOptions& options) const {
  at::Tensor hidden = embed(input_ids);
  const int64_t batch = input_ids.size(0);
  const int64_t length = input_ids.size(1);
  const at::Tensor& documents = options.documents;
  require(!documents.defined() || documents.sizes() == input_ids.sizes(), "documents and input_ids differ in shape");
  check_spans(options, config_.num_hidden_layers);
  const ActivationCheckpointing checkpointing = options.activation_checkpointing;
  require(!options.watch_attention || checkpointing != ActivationCheckpointing::full,
          "watch_attention does not go with activation_checkpointing full");
  require(options.sequence_chunk >= 0, "sequence_chunk is ", options.sequence_chunk, "; expected 0 or more");
  require(options.sequence_chunk == 0 || checkpointing == ActivationCheckpointing::none ||
              checkpointing == ActivationCheckpointing::full,
          "sequence_chunk computes attention and MLP again as it is; take activation_checkpointing none or full");

  LayerContext context;
  context.watch_attention = options.watch_attention;
  const at::Tensor positions =
      documents.defined() ? positions_in_documents(documents) : at::arange(length, input_ids.options()).unsqueeze(0);
  if (options.sequence_chunk > 0) {
    set_pieces(positions, options, context);
  } else {
    set_rotary_tables(positions, context);
  }
  if (checkpointing != ActivationCheckpointing::full) context.activation_checkpointing = checkpointing;
  context.attention = attention_function(options, batch, length, hidden);
  const bool has_first = options.adapters != nullptr && options.adapters->config().mixed_queries;
  const at::Tensor first = has_first ? norm_in_pieces(0, hidden, options.sequence_chunk) : at::Tensor();
  if (options.adapters != nullptr) {
    context.begin_adapter = adapter_function(options, first, nullptr);
    context.adapter_place = options.adapters->config().place;
    context.low_rank = options.adapters->low_rank();
  }

  const auto input = [&](int64_t index) {
    return options.replace_layer_input ? options.replace_layer_input(index, hidden) : hidden;
  };
  const auto tell = [&](int64_t index) {
    if (options.watch_layer_output) options.watch_layer_output(index, hidden);
  };
  for (int64_t index = 0; index < config_.num_hidden_layers; ++index) {
    hidden = checkpointing == ActivationCheckpointing::full
                 ? checkpointed_layer(index, input(index), context, options, first)
                 : layer(index, input(index), context);
    tell(index);
  }
  hidden = finish(input(config_.num_hidden_layers), context);
  tell(config_.num_hidden_layers);
  return hidden;
}

std::function<FinishAdapter(int64_t, const at::Tensor&)> CausalModel::adapter_function(
    const ForwardOptions& options, const at::Tensor& first_input, const std::shared_ptr<HardResult>& recorded) const {
  AdapterCall call;
  call.first_input = first_input;
  call.options = options.adapters->operator_options(options.operator_options, options.sliding_window);
  call.documents = options.documents;
  call.executor = options.executor;
  call.recorded = recorded.get();
  call.codes = options.codes;
  call.gate_statistics = options.gate_statistics;
  call.sequence_chunk = options.sequence_chunk;
  return [this, call, recorded, windows = options.layer_windows, adapters = options.adapters,
          left_out = options.left_out, watch = options.watch_adapter_inputs](int64_t index, const at::Tensor& normed) {
    if (!adapters->has_layer(index) || left_out.contains(index)) return FinishAdapter();
    if (watch) watch(index, normed, call.first_input);
    AdapterCall own = call;
    // The controls keep to what the layer's attention sees; where that is all, to the window of the others.
    if (index < static_cast<int64_t>(windows.size()) && windows[static_cast<size_t>(index)] > 0) {
      own.options.sliding_window = windows[static_cast<size_t>(index)];
    }
    if (own.sequence_chunk > 0 && adapters->config().place == AdapterPlace::mlp && index < config_.num_hidden_layers) {
      own.gate_norm = [this, index](const at::Tensor& output) { return input_norm(index + 1, output); };
      own.gate_norm_weight = input_norm_weight(index + 1);
    }
    return adapters->begin(index, normed, own);
  };
}

// Both runs of the layer share one record of what the automata gave, so that these run once.
at::Tensor CausalModel::checkpointed_layer(int64_t index, const at::Tensor& hidden, const LayerContext& context,
                                           const ForwardOptions& options, const at::Tensor& first_input) const {
  std::vector<at::Tensor> inputs = {hidden}, parameters = layer_tensors(index, context.low_rank);
  // An input too: what it was made of has no part in the layer's own gradients.
  if (first_input.defined()) inputs.push_back(first_input);
  std::shared_ptr<HardResult> recorded;
  if (options.adapters != nullptr) {
    recorded = std::make_shared<HardResult>();
    for (const at::Tensor& parameter : options.adapters->layer_parameters(index)) parameters.push_back(parameter);
    parameters.push_back(input_norm_weight(index + 1));
  }
  return run_in_pieces(
      [this, index, context, options, recorded](const Piece&, const std::vector<at::Tensor>& own) {
        LayerContext of_run = context;
        if (recorded != nullptr) {
          of_run.begin_adapter = adapter_function(options, own.size() > 1 ? own[1] : at::Tensor(), recorded);
        }
        return std::vector<at::Tensor>{layer(index, own[0], of_run)};
      },
      inputs, parameters, {hidden.size(1)})[0];
}

std::vector<at::Tensor> CausalModel::layer_tensors(int64_t index, const LowRank* low_rank) const {
  std::vector<at::Tensor> tensors;
  const std::string prefix = layer_name(index, "");
  for (auto entry = parameters_.lower_bound(prefix);
       entry != parameters_.end() && entry->first.compare(0, prefix.size(), prefix) == 0; ++entry) {
    tensors.push_back(entry->second);
  }
  if (low_rank == nullptr) return tensors;
  for (const at::Tensor& parameter : low_rank->layer_parameters(index)) tensors.push_back(parameter);
  return tensors;
}

at::Tensor CausalModel::teacher_hidden_states(const at::Tensor& input_ids, const at::Tensor& documents,
                                              int64_t sequence_chunk) const {
  const at::NoGradGuard no_gradient;
  ForwardOptions options;
  options.documents = documents;
  options.sequence_chunk = sequence_chunk;
  return hidden_states(input_ids, options);
}

at::Tensor CausalModel::embed(const at::Tensor& input_ids) const {
  check_tokens(input_ids, config_.vocab_size);
  return at::embedding(in_compute_dtype(parameters_.at(kEmbedding)), input_ids);
}

void CausalModel::set_rotary_tables(const at::Tensor& positions, LayerContext& context, int64_t length) const {
  const Rotary rotary = config_.rotary();
  if (length == 0 && !rotary.is_fixed_up_to(std::numeric_limits<int64_t>::max())) {
    length = positions.max().item<int64_t>() + 1;
  }
  const at::Tensor frequencies = rotary.frequencies(length).to(positions.device());
  const at::Tensor angles = positions.to(at::kFloat).unsqueeze(2).unsqueeze(3) * frequencies;
  const double scale = rotary.cos_sin_scale();
  at::Tensor sin = angles.sin(), cos = angles.cos();
  if (scale != 1) {
    sin *= scale;
    cos *= scale;
  }
  const at::ScalarType dtype = compute_options_.dtype().toScalarType();
  context.cos = at::cat({cos, cos}, 3).to(dtype);
  context.sin = at::cat({-sin, sin}, 3).to(dtype);
}

void CausalModel::set_pieces(const at::Tensor& positions, const ForwardOptions& options, LayerContext& context) const {
  const int64_t length = positions.size(1);
  // Of the text as a whole, where the rotation depends on it.
  const bool is_fixed = config_.rotary().is_fixed_up_to(std::numeric_limits<int64_t>::max());
  const int64_t longest = is_fixed ? 0 : positions.max().item<int64_t>() + 1;
  context.sequence_chunk = options.sequence_chunk;
  context.is_whole = [options, length](int64_t layer) { return is_whole(options, layer, length); };
  context.halo = [options](int64_t layer) { return options.span(layer).window - 1; };
  context.narrowed = [this, positions, options, longest](int64_t layer, int64_t first, int64_t count) {
    LayerContext own;
    set_rotary_tables(positions.narrow(1, first, count), own, longest);
    own.attention = [span = options.span(layer), documents = options.documents, first, count](
                        int64_t, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
      const at::Tensor of_piece = documents.defined() ? documents.narrow(1, first, count) : documents;
      return CausalAttention(query.size(0), count, span, of_piece, query)(query, key, value);
    };
    return own;
  };
}

at::Tensor CausalModel::norm_in_pieces(int64_t index, const at::Tensor& hidden, int64_t sequence_chunk) const {
  if (sequence_chunk == 0) return input_norm(index, hidden);
  return run_in_pieces(
      [this, index](const Piece&, const std::vector<at::Tensor>& inputs) {
        return std::vector<at::Tensor>{input_norm(index, inputs[0])};
      },
      {hidden}, {input_norm_weight(index)}, {sequence_chunk})[0];
}

// The same function as layer(): what is before the operator, the operator, and what is after it.
at::Tensor CausalModel::layer_in_pieces(int64_t index, const at::Tensor& hidden, const LayerContext& context) const {
  using Tensors = std::vector<at::Tensor>;
  const Tensors parameters = layer_tensors(index, context.low_rank);
  const auto in_pieces = [&](PieceFunction part, const Tensors& inputs, int64_t halo) {
    return run_in_pieces(std::move(part), inputs, parameters, {context.sequence_chunk, halo});
  };
  FinishAdapter finish_adapter;
  at::Tensor normed;
  if (context.begin_adapter) {
    normed = norm_in_pieces(index, hidden, context.sequence_chunk);
    finish_adapter = context.begin_adapter(index, normed);
  }
  const bool joins_attention = finish_adapter && context.adapter_place == AdapterPlace::attention;
  if (!joins_attention) normed.reset();

  // Attention in a window is computed within each piece, its halo before it; else the parts around it are.
  Tensors inputs = {hidden};
  int64_t halo = 0;
  if (context.is_whole(index)) {
    const Tensors heads = in_pieces(
        [this, index, narrowed = context.narrowed, low_rank = context.low_rank](const Piece& piece,
                                                                                const Tensors& own) {
          LayerContext of_piece = narrowed(index, piece.first, piece.count);
          of_piece.low_rank = low_rank;
          return attention_heads(index, input_norm(index, own[0]), of_piece);
        },
        inputs, 0);
    inputs.push_back(context.attention(index, heads[0], heads[1], heads[2]));
  } else {
    halo = context.halo(index);
  }
  const auto mixed_of = [this, index, narrowed = context.narrowed, low_rank = context.low_rank](const Piece& piece,
                                                                                                const Tensors& own) {
    if (own.size() > 1) return project(index, Projection::output, own[1], low_rank);
    LayerContext of_piece = narrowed(index, piece.first - piece.before, piece.before + piece.count);
    of_piece.low_rank = low_rank;
    return self_attention(index, input_norm(index, own[0]), of_piece).narrow(1, piece.before, piece.count);
  };
  const auto with_mlp = [this, index, low_rank = context.low_rank](const at::Tensor& middle) {
    return Tensors{middle + mlp(index, middle, low_rank)};
  };
  if (!joins_attention && !context.watch_attention) {
    const at::Tensor output = in_pieces(
        [mixed_of, with_mlp](const Piece& piece, const Tensors& own) {
          return with_mlp(own[0].narrow(1, piece.before, piece.count) + mixed_of(piece, own));
        },
        inputs, halo)[0];
    return finish_adapter ? output + finish_adapter(output).to(output.scalar_type()) : output;
  }
  at::Tensor mixed = in_pieces(
      [mixed_of](const Piece& piece, const Tensors& own) { return Tensors{mixed_of(piece, own)}; }, inputs, halo)[0];
  if (joins_attention) mixed = mixed + finish_adapter(normed).to(mixed.scalar_type());
  if (context.watch_attention) context.watch_attention(index, mixed);
  const at::Tensor output =
      in_pieces([with_mlp](const Piece&, const Tensors& own) { return with_mlp(own[0]); }, {hidden + mixed}, 0)[0];
  if (!finish_adapter || joins_attention) return output;
  return output + finish_adapter(output).to(output.scalar_type());
}

at::Tensor CausalModel::layer(int64_t index, const at::Tensor& hidden, const LayerContext& context) const {
  const DeviceSpan span(hidden.device(), "device", "layer", {{"layer", index}});
  if (context.sequence_chunk > 0) return layer_in_pieces(index, hidden, context);
  // One of the layer's two parts, computed again in the backward where that is asked for.
  const auto part = [&](ActivationCheckpointing which, const at::Tensor& input,
                        const std::function<at::Tensor(const at::Tensor&)>& function) {
    if (context.activation_checkpointing != which) return function(input);
    return run_in_pieces(
        [function](const Piece&, const std::vector<at::Tensor>& own) {
          return std::vector<at::Tensor>{function(own[0])};
        },
        {input}, layer_tensors(index, context.low_rank), {input.size(1)})[0];
  };
  const at::Tensor normed = input_norm(index, hidden);
  // The automata of the adapter run beside the attention, and beside the MLP where the output is added after it.
  FinishAdapter finish_adapter;
  if (context.begin_adapter) finish_adapter = context.begin_adapter(index, normed);
  at::Tensor mixed = part(ActivationCheckpointing::attention, normed, [this, index, context](const at::Tensor& input) {
    return self_attention(index, input, context);
  });
  const bool joins_attention = finish_adapter && context.adapter_place == AdapterPlace::attention;
  if (joins_attention) mixed = mixed + finish_adapter(normed).to(mixed.scalar_type());
  if (context.watch_attention) context.watch_attention(index, mixed);
  const at::Tensor middle = hidden + mixed;

  at::Tensor output = middle + part(ActivationCheckpointing::mlp, middle,
                                    [this, index, low_rank = context.low_rank](const at::Tensor& input) {
                                      return mlp(index, input, low_rank);
                                    });
  if (!finish_adapter || joins_attention) return output;
  return output + finish_adapter(input_norm(index + 1, output)).to(output.scalar_type());
}

at::Tensor CausalModel::mlp(int64_t index, const at::Tensor& middle, const LowRank* low_rank) const {
  const DeviceSpan span(middle.device(), "device", "mlp", {{"layer", index}});
  const at::Tensor input = norm(middle, *layers_[index].post_attention_norm);
  const at::Tensor gate = at::silu(project(index, Projection::gate, input, low_rank));
  const at::Tensor up = project(index, Projection::up, input, low_rank);
  return project(index, Projection::down, gate * up, low_rank);
}

std::vector<at::Tensor> CausalModel::attention_heads(int64_t index, const at::Tensor& normed,
                                                     const LayerContext& context) const {
  const LayerWeights& weights = layers_[index];
  const auto heads = [&](Projection projection, const at::Tensor* of_heads, int64_t number) {
    const at::Tensor by_head = project(index, projection, normed, context.low_rank)
                                   .view({normed.size(0), normed.size(1), number, config_.head_dim});
    return of_heads != nullptr ? norm(by_head, *of_heads) : by_head;
  };
  const at::Tensor query = heads(Projection::query, weights.q_norm, config_.num_attention_heads);
  const at::Tensor key = heads(Projection::key, weights.k_norm, config_.num_key_value_heads);
  const at::Tensor value = heads(Projection::value, nullptr, config_.num_key_value_heads);
  return {rotate(query, context.cos, context.sin), rotate(key, context.cos, context.sin), value};
}

at::Tensor CausalModel::self_attention(int64_t index, const at::Tensor& normed, const LayerContext& context) const {
  const DeviceSpan span(normed.device(), "device", "attention", {{"layer", index}});
  const std::vector<at::Tensor> heads = attention_heads(index, normed.view_as(normed), context);
  const at::Tensor attended = context.attention(index, heads[0], heads[1], heads[2]);
  return project(index, Projection::output, attended, context.low_rank);
}

at::Tensor CausalModel::final_norm(const at::Tensor& hidden) const {
  return input_norm(config_.num_hidden_layers, hidden);
}

at::Tensor CausalModel::finish(const at::Tensor& hidden, const LayerContext& context) const {
  const int64_t last = config_.num_hidden_layers;
  const at::Tensor normed = norm_in_pieces(last, hidden, context.sequence_chunk);
  FinishAdapter finish_adapter;
  if (context.begin_adapter) finish_adapter = context.begin_adapter(config_.num_hidden_layers, normed);
  if (!finish_adapter) return normed;
  return norm_in_pieces(last, hidden + finish_adapter(normed).to(hidden.scalar_type()), context.sequence_chunk);
}

at::Tensor CausalModel::input_norm(int64_t index, const at::Tensor& hidden) const {
  return norm(hidden, input_norm_weight(index));
}

const at::Tensor& CausalModel::input_norm_weight(int64_t index) const {
  return index == config_.num_hidden_layers ? parameters_.at(kFinalNorm) : *layers_[index].input_norm;
}

at::Tensor CausalModel::first_input(const at::Tensor& embedded, const AdapterSet* adapters) const {
  return adapters != nullptr && adapters->config().mixed_queries ? input_norm(0, embedded) : at::Tensor();
}

at::Tensor CausalModel::logits(const at::Tensor& hidden) const { return at::linear(hidden, lm_head_weight()); }

at::Tensor CausalModel::lm_head_weight() const {
  return in_compute_dtype(parameters_.at(config_.tie_word_embeddings ? kEmbedding : kOutputProjection));
}

at::Tensor CausalModel::in_compute_dtype(const at::Tensor& weight) const {
  return weight.to(compute_options_.dtype().toScalarType());
}

at::Tensor CausalModel::project(int64_t index, Projection projection, const at::Tensor& input,
                                const LowRank* low_rank) const {
  const auto& [weight, bias] = layers_[index][projection];
  const at::Tensor own_bias = bias == nullptr ? at::Tensor() : in_compute_dtype(*bias);
  const at::Tensor output = layer_source_ ? frozen_linear(input, layer_source_, index, projection, own_bias)
                                          : at::linear(input, in_compute_dtype(*weight), own_bias);
  const auto pair = low_rank == nullptr ? std::nullopt : low_rank->pair(index, projection);
  if (!pair) return output;
  const at::Tensor inner = at::linear(input, in_compute_dtype(*pair->a));
  return at::add(output, at::linear(inner, in_compute_dtype(*pair->b)), low_rank->scale());
}

at::Tensor CausalModel::norm(const at::Tensor& input, const at::Tensor& weight) const {
  return rms_norm(input, in_compute_dtype(weight), config_.rms_norm_eps);
}

}  // namespace rosa::models
