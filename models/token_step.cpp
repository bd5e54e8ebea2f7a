#include "models/token_step.h"

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>

#include "base/error.h"
#include "models/token_products.h"
#include "rosa/kernels/token_rows.h"

namespace rosa::models {
namespace {

using kernels::RowType;
using kernels::token_rows;
using kernels::TokenAttention;

bool is_served(const at::Tensor& tensor) {
  return tensor.is_cpu() && tensor.is_contiguous() &&
         (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16);
}

// A vector of weights as float32.
class FloatWeights {
 public:
  explicit FloatWeights(const at::Tensor& weight) {
    if (weight.scalar_type() == at::kFloat) {
      data_ = weight.const_data_ptr<float>();
      return;
    }
    const c10::BFloat16* from = weight.const_data_ptr<c10::BFloat16>();
    copy_.assign(from, from + weight.numel());
    data_ = copy_.data();
  }
  const float* data() const { return data_; }

 private:
  std::vector<float> copy_;
  const float* data_ = nullptr;
};

void normalize(const float* input, const at::Tensor& weight, double epsilon, int64_t num_rows, float* output) {
  const FloatWeights weights(weight);
  const int64_t size = weight.size(0);
  for (int64_t row = 0; row < num_rows; ++row) {
    token_rows().normalize(input + row * size, weights.data(), static_cast<float>(epsilon), size, output + row * size);
  }
}

}  // namespace

// Where the tokens of a step stand.
struct TokenStep::Positions {
  std::vector<int64_t> position;  // of each token in its text
  std::vector<int64_t> text;      // its index among the texts
  std::vector<float> cos, sin;    // [token, head_dim / 2]
};

TokenStep::TokenStep(const CausalModel& model, const AdapterSet* adapters, HostExecutor* executor)
    : model_(model), adapters_(adapters), executor_(executor) {
  frequencies_ = model.config().rotary().frequencies(1).contiguous();
}

bool TokenStep::is_possible() const {
  for (const auto& [name, tensor] : model_.parameters()) {
    if (!is_served(tensor)) return false;
  }
  if (adapters_ == nullptr) return true;
  const auto are_served = [](const std::map<std::string, at::Tensor>& weights) {
    return std::all_of(weights.begin(), weights.end(), [](const auto& entry) {
      return is_served(entry.second) && entry.second.scalar_type() == at::kFloat;
    });
  };
  return are_served(adapters_->parameters()) &&
         (adapters_->low_rank() == nullptr || are_served(adapters_->low_rank()->parameters()));
}

at::Tensor TokenStep::embed(std::span<const Tokens> tokens, int64_t count) const {
  at::Tensor ids = at::empty({1, count}, at::kLong);
  int64_t* next = ids.mutable_data_ptr<int64_t>();
  for (const Tokens& each : tokens) next = std::copy(each.ids.begin(), each.ids.end(), next);
  return model_.embed(ids)[0].to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).contiguous();
}

at::Tensor TokenStep::run(std::span<const Tokens> tokens) const {
  const at::NoGradGuard no_gradient;
  const ModelConfig& config = model_.config();
  int64_t count = 0;
  for (const Tokens& each : tokens) count += static_cast<int64_t>(each.ids.size());
  at::Tensor hidden = embed(tokens, count);
  Positions positions;
  const Rotary rotary = config.rotary();
  const auto scale = static_cast<float>(rotary.cos_sin_scale());
  for (size_t text = 0; text < tokens.size(); ++text) {
    for (size_t i = 0; i < tokens[text].ids.size(); ++i) {
      const int64_t position = tokens[text].text->size + static_cast<int64_t>(i);
      positions.position.push_back(position);
      positions.text.push_back(static_cast<int64_t>(text));
      const int64_t length = std::max(position + 1, tokens[text].rotary_length);
      const at::Tensor own = rotary.is_fixed_up_to(length) ? frequencies_ : rotary.frequencies(length);
      const float* frequencies = own.const_data_ptr<float>();
      for (int64_t pair = 0; pair < config.head_dim / 2; ++pair) {
        const float angle = static_cast<float>(position) * frequencies[pair];
        positions.cos.push_back(std::cos(angle) * scale);
        positions.sin.push_back(std::sin(angle) * scale);
      }
    }
  }
  float* x = hidden.mutable_data_ptr<float>();
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  const auto normed = numbers(count * width), mixed = numbers(count * width), from_adapter = numbers(count * width);
  const bool after_mlp = adapters_ != nullptr && adapters_->config().place == AdapterPlace::mlp;
  std::unique_ptr<float[]> first_input;
  const auto gate = numbers(count * inner), up = numbers(count * inner);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    normalize(x, model_.input_norm_weight(layer), config.rms_norm_eps, count, normed.get());
    if (layer == 0 && adapters_ != nullptr && adapters_->config().mixed_queries) {
      first_input = numbers(count * width);
      std::copy_n(normed.get(), count * width, first_input.get());
    }
    attention(layer, tokens, positions, normed.get(), mixed.get());
    std::optional<Retrieved> retrieved;
    if (adapters_ != nullptr && adapters_->has_layer(layer)) {
      retrieved = retrieve(layer, tokens, normed.get(), first_input.get(), count);
    }
    if (retrieved && !after_mlp) {
      adapter_output(layer, *retrieved, normed.get(), count, from_adapter.get());
      add(mixed.get(), from_adapter.get(), count * width);
    }
    add(x, mixed.get(), count * width);
    const LayerWeights& weights = model_.layer_weights(layer);
    normalize(x, *weights.post_attention_norm, config.rms_norm_eps, count, normed.get());
    multiply(normed.get(), count,
             std::array{Product{weights[Projection::gate].weight, gate.get()},
                        Product{weights[Projection::up].weight, up.get()}});
    add_low_rank(layer, Projection::gate, normed.get(), count, gate.get());
    add_low_rank(layer, Projection::up, normed.get(), count, up.get());
    for (int64_t row = 0; row < count; ++row) {
      float* own = gate.get() + row * inner;
      token_rows().gated(own, up.get() + row * inner, inner, own);
    }
    multiply(gate.get(), count, std::array{Product{weights[Projection::down].weight, mixed.get()}});
    add_low_rank(layer, Projection::down, gate.get(), count, mixed.get());
    add(x, mixed.get(), count * width);
    if (retrieved && after_mlp) {
      normalize(x, model_.input_norm_weight(layer + 1), config.rms_norm_eps, count, normed.get());
      adapter_output(layer, *retrieved, normed.get(), count, from_adapter.get());
      add(x, from_adapter.get(), count * width);
    }
  }
  const auto normalize_last = [&](float* to) {
    normalize(x, model_.input_norm_weight(config.num_hidden_layers), config.rms_norm_eps, count, to);
  };
  if (adapters_ != nullptr && adapters_->has_layer(config.num_hidden_layers)) {
    normalize_last(normed.get());
    const Retrieved retrieved = retrieve(config.num_hidden_layers, tokens, normed.get(), first_input.get(), count);
    adapter_output(config.num_hidden_layers, retrieved, normed.get(), count, from_adapter.get());
    add(x, from_adapter.get(), count * width);
  }
  normalize_last(x);
  for (const Tokens& each : tokens) each.text->size += static_cast<int64_t>(each.ids.size());
  return hidden;
}

void TokenStep::attention(int64_t layer, std::span<const Tokens> tokens, const Positions& positions,
                          const float* normed, float* output) const {
  const ModelConfig& config = model_.config();
  const LayerWeights& weights = model_.layer_weights(layer);
  const auto count = static_cast<int64_t>(positions.position.size());
  const int64_t d = config.head_dim, heads = config.num_attention_heads, groups = config.num_key_value_heads;
  const auto query = numbers(count * heads * d), attended = numbers(count * heads * d);
  at::Tensor key = at::empty({count, groups, d}, at::kFloat), value = at::empty({count, groups, d}, at::kFloat);
  multiply(normed, count,
           std::array{Product{weights[Projection::query].weight, query.get()},
                      Product{weights[Projection::key].weight, key.mutable_data_ptr<float>()},
                      Product{weights[Projection::value].weight, value.mutable_data_ptr<float>()}});
  add_low_rank(layer, Projection::query, normed, count, query.get());
  add_low_rank(layer, Projection::key, normed, count, key.mutable_data_ptr<float>());
  add_low_rank(layer, Projection::value, normed, count, value.mutable_data_ptr<float>());
  const auto add_bias = [&](float* rows, int64_t row_size, const at::Tensor* bias) {
    if (bias == nullptr) return;
    const FloatWeights values(*bias);
    for (int64_t row = 0; row < count; ++row) add(rows + row * row_size, values.data(), row_size);
  };
  add_bias(query.get(), heads * d, weights[Projection::query].bias);
  add_bias(key.mutable_data_ptr<float>(), groups * d, weights[Projection::key].bias);
  add_bias(value.mutable_data_ptr<float>(), groups * d, weights[Projection::value].bias);
  const auto rotate = [&](float* rows, int64_t num_heads, const at::Tensor* norm) {
    if (norm != nullptr) normalize(rows, *norm, config.rms_norm_eps, count * num_heads, rows);
    for (int64_t token = 0; token < count; ++token) {
      const float* cos = positions.cos.data() + token * (d / 2);
      const float* sin = positions.sin.data() + token * (d / 2);
      for (int64_t head = 0; head < num_heads; ++head) {
        float* low = rows + (token * num_heads + head) * d;
        float* high = low + d / 2;
        for (int64_t i = 0; i < d / 2; ++i) {
          const float a = low[i], b = high[i];
          low[i] = a * cos[i] - b * sin[i];
          high[i] = b * cos[i] + a * sin[i];
        }
      }
    }
  };
  rotate(query.get(), heads, weights.q_norm);
  rotate(key.mutable_data_ptr<float>(), groups, weights.k_norm);
  const at::TensorOptions& kept_as = model_.compute_options();
  int64_t first = 0;
  for (const Tokens& each : tokens) {
    const auto own = static_cast<int64_t>(each.ids.size());
    each.text->caches[layer].append(key.narrow(0, first, own), value.narrow(0, first, own), kept_as);
    first += own;
  }
  const int64_t group = heads / groups;
  const int64_t visible = positions.position.back() + 1;
  at::parallel_for(
      0, count * groups, std::max<int64_t>(1, kMinShare / (2 * group * d * visible)), [&](int64_t begin, int64_t end) {
        std::vector<float> scores;
        for (int64_t task = begin; task < end; ++task) {
          const int64_t token = task / groups, kv_head = task % groups;
          const KeyValueCache& cache = tokens[positions.text[token]].text->caches[layer];
          const int64_t position = positions.position[token], oldest = cache.first_visible(position);
          const int64_t capacity = cache.keys().size(1), slot = oldest % capacity, seen = position + 1 - oldest;
          const int64_t in_first = std::min(seen, capacity - slot);
          const auto run = [&](int64_t from, int64_t size) {
            const int64_t offset = (kv_head * capacity + from) * d * cache.keys().element_size();
            return TokenAttention::Run{static_cast<const std::byte*>(cache.keys().const_data_ptr()) + offset,
                                       static_cast<const std::byte*>(cache.values().const_data_ptr()) + offset, size};
          };
          const int64_t sinks = cache.distant_sinks(position);
          TokenAttention::Run of_sinks{nullptr, nullptr, sinks};
          if (sinks > 0) {
            const int64_t offset = kv_head * cache.num_sinks() * d * cache.keys().element_size();
            of_sinks.keys = static_cast<const std::byte*>(cache.sink_keys().const_data_ptr()) + offset;
            of_sinks.values = static_cast<const std::byte*>(cache.sink_values().const_data_ptr()) + offset;
          }
          scores.resize(group * (seen + sinks));
          token_rows().attend({.query = query.get() + (token * heads + kv_head * group) * d,
                               .num_heads = group,
                               .head_dim = d,
                               .runs = {of_sinks, run(slot, in_first), run(0, seen - in_first)},
                               .type = row_type(cache.keys()),
                               .scale = 1.0F / std::sqrt(static_cast<float>(d)),
                               .scores = scores.data(),
                               .output = attended.get() + (token * heads + kv_head * group) * d});
        }
      });
  multiply(attended.get(), count, std::array{Product{weights[Projection::output].weight, output}});
  add_low_rank(layer, Projection::output, attended.get(), count, output);
}

at::Tensor TokenStep::logits(const at::Tensor& hidden) const {
  const at::Tensor input = hidden.to(at::kFloat).contiguous();
  const at::Tensor matrix = model_.lm_head_weight();
  at::Tensor output = at::empty({input.size(0), matrix.size(0)}, at::kFloat);
  multiply(input.const_data_ptr<float>(), input.size(0),
           std::array{Product{&matrix, output.mutable_data_ptr<float>()}});
  return output;
}

}  // namespace rosa::models
