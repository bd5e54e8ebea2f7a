// The adapters' part of a TokenStep. adapter.h defines what they compute.
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "models/token_products.h"
#include "models/token_step.h"

namespace rosa::models {
namespace {

// Exact at 0 and at 1.
float lerp(float zero, float one, float bit) {
  return bit < 0.5F ? zero + bit * (one - zero) : one - (one - zero) * (1 - bit);
}

// output[m,j] += sum over i of input[m,i] * scale[i] * matrix[i,j]; matrix float32 [inputs, columns].
void add_columns(const float* input, int64_t num_rows, const float* scale, const at::Tensor& matrix, float* output) {
  const int64_t num_inputs = matrix.size(0), num_columns = matrix.size(1);
  const float* data = matrix.const_data_ptr<float>();
  const int64_t grain = std::max<int64_t>(16, kMinShare / (num_rows * num_inputs));
  at::parallel_for(0, num_columns, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < num_inputs; ++i) {
      for (int64_t m = 0; m < num_rows; ++m) {
        const float factor = input[m * num_inputs + i] * scale[i];
        for (int64_t j = begin; j < end; ++j) output[m * num_columns + j] += factor * data[i * num_columns + j];
      }
    }
  });
}

}  // namespace

const float* TokenStep::of_adapter(int64_t layer, const char* name) const {
  return adapters_->weight(layer, name).const_data_ptr<float>();
}

TokenStep::Retrieved TokenStep::retrieve(int64_t layer, std::span<const Tokens> tokens, const float* normed,
                                         const float* first_input, int64_t count) const {
  const AdapterConfig& config = adapters_->config();
  const int64_t heads = config.num_heads, kv_heads = config.num_key_value_heads;
  const int64_t bits = config.query_key_bits, value_bits = config.value_bits;
  at::Tensor query = at::empty({count, heads, bits}, at::kFloat);
  at::Tensor key = at::empty({count, kv_heads, bits}, at::kFloat);
  at::Tensor value = at::empty({count, kv_heads, value_bits}, at::kFloat);
  float* const queries = query.mutable_data_ptr<float>();
  float* const keys = key.mutable_data_ptr<float>();
  const at::Tensor& of_query = adapters_->weight(layer, "q_proj.weight");
  const at::Tensor& of_key = adapters_->weight(layer, "k_proj.weight");
  float* const values = value.mutable_data_ptr<float>();
  const at::Tensor& of_value = adapters_->weight(layer, "v_proj.weight");
  if (config.mixed_queries && layer > 0) {
    const int64_t query_width = heads * bits, key_width = kv_heads * bits, value_width = kv_heads * value_bits;
    for (const int64_t which : {0, 1}) {
      const auto half = [which](const at::Tensor& matrix) {
        return matrix.narrow(0, which * (matrix.size(0) / 2), matrix.size(0) / 2);
      };
      const at::Tensor query_half = half(of_query), key_half = half(of_key), value_half = half(of_value);
      multiply(which == 0 ? first_input : normed, count,
               std::array{Product{&query_half, queries + which * (query_width / 2), query_width},
                          Product{&key_half, keys + which * (key_width / 2), key_width},
                          Product{&value_half, values + which * (value_width / 2), value_width}});
    }
  } else {
    multiply(normed, count,
             std::array{Product{&of_query, queries}, Product{&of_key, keys}, Product{&of_value, values}});
  }
  add_bias(layer, "q_proj.bias", query);
  add_bias(layer, "k_proj.bias", key);
  add_bias(layer, "v_proj.bias", value);

  const bool wants_lengths = adapter_gates(config).length;
  std::vector<at::Tensor> all_bits, all_matched, all_lengths;
  int64_t first = 0;
  for (const Tokens& each : tokens) {
    const auto own = static_cast<int64_t>(each.ids.size());
    const auto rows = [&](const at::Tensor& all) { return all.narrow(0, first, own).unsqueeze(0).transpose(1, 2); };
    const OperatorOutput result = each.text->rosa_states[layer]->append(rows(query), rows(key), rows(value), *executor_,
                                                                        wants_lengths, config.candidates);
    all_bits.push_back(result.bits[0].transpose(0, 1));
    all_matched.push_back(result.matched[0].transpose(0, 1));
    if (result.lengths.defined()) all_lengths.push_back(result.lengths[0].transpose(0, 1));
    first += own;
  }
  return {at::cat(all_bits).contiguous(), at::cat(all_matched).contiguous(),
          all_lengths.empty() ? at::Tensor() : at::cat(all_lengths).to(at::kInt).contiguous()};
}

// rows [count, ...] of the projection, in place.
void TokenStep::add_bias(int64_t layer, const char* name, at::Tensor& rows) const {
  if (!adapters_->config().bias) return;
  const int64_t size = rows.numel() / rows.size(0);
  for (int64_t row = 0; row < rows.size(0); ++row) {
    add(rows.mutable_data_ptr<float>() + row * size, of_adapter(layer, name), size);
  }
}

void TokenStep::add_low_rank(int64_t layer, Projection projection, const float* input, int64_t count,
                             float* output) const {
  if (adapters_ == nullptr || adapters_->low_rank() == nullptr) return;
  const auto pair = adapters_->low_rank()->pair(layer, projection);
  if (!pair) return;
  const int64_t size = count * pair->b->size(0);
  const auto inner = numbers(count * pair->a->size(0)), added = numbers(size);
  multiply(input, count, std::array{Product{pair->a, inner.get()}});
  multiply(inner.get(), count, std::array{Product{pair->b, added.get()}});
  const auto scale = static_cast<float>(adapters_->low_rank()->scale());
  for (int64_t i = 0; i < size; ++i) output[i] += scale * added[i];
}

// See adapter.h.
std::vector<float> TokenStep::gates(int64_t layer, const Retrieved& retrieved, const float* input,
                                    int64_t count) const {
  const AdapterConfig& config = adapters_->config();
  const AdapterGates gates = adapter_gates(config);
  const int64_t heads = config.num_heads, value_bits = config.value_bits, width = heads * value_bits;
  std::vector<float> z(count * heads, 0.0F);
  if (gates.hidden) {
    multiply(input, count, std::array{Product{&adapters_->weight(layer, "g_hidden"), z.data()}});
  }
  if (gates.length) {
    const float* table = of_adapter(layer, "g_len");
    const int32_t* lengths = retrieved.lengths.const_data_ptr<int32_t>();
    for (int64_t i = 0; i < count * heads; ++i) {
      z[i] += table[i % heads * kNumLengthBuckets + length_bucket(lengths[i])];
    }
  }
  if (gates.agreement) {
    const bool is_full = config.agreement == Agreement::full;
    std::vector<float> expected(count * width, 0.0F);
    if (is_full) {
      multiply(input, count, std::array{Product{&adapters_->weight(layer, "g_bil"), expected.data()}});
    } else {
      add_columns(input, count, of_adapter(layer, "g_dim"), adapters_->weight(layer, "o_proj.weight"), expected.data());
    }
    const float* bits = retrieved.bits.const_data_ptr<float>();
    const bool* matched = retrieved.matched.const_data_ptr<bool>();
    for (int64_t i = 0; i < count * heads; ++i) {
      if (!matched[i]) continue;
      float sum = 0;
      for (int64_t j = i * value_bits; j < (i + 1) * value_bits; ++j) sum += (2 * bits[j] - 1) * expected[j];
      z[i] += is_full ? sum : sum * of_adapter(layer, "g_head")[i % heads];
    }
  }
  for (float& each : z) each = 2 / (1 + std::exp(-each));
  return z;
}

void TokenStep::adapter_output(int64_t layer, const Retrieved& retrieved, const float* gate_input, int64_t count,
                               float* output) const {
  const AdapterConfig& config = adapters_->config();
  const int64_t heads = config.num_heads, value_bits = config.value_bits, width = heads * value_bits;
  const float* zero = of_adapter(layer, "v_emb0");
  const float* one = of_adapter(layer, "v_emb1");
  const float* no_match = config.no_match_embedding ? of_adapter(layer, "v_emb_no_match") : zero;
  const AdapterGates has = adapter_gates(config);
  std::vector<float> gate;
  if (has.any()) gate = gates(layer, retrieved, gate_input, count);
  const float* by_length = has.length && config.agreement == Agreement::full ? of_adapter(layer, "u_len") : nullptr;
  const float* bits = retrieved.bits.const_data_ptr<float>();
  const bool* matched = retrieved.matched.const_data_ptr<bool>();
  const auto values = numbers(count * width);
  for (int64_t i = 0; i < count * heads; ++i) {
    const int64_t head = i % heads;
    for (int64_t bit = 0; bit < value_bits; ++bit) {
      const int64_t j = head * value_bits + bit;
      float value = matched[i] ? lerp(zero[j], one[j], bits[i * value_bits + bit]) : no_match[j];
      if (by_length != nullptr) {
        const int64_t bucket = length_bucket(retrieved.lengths.const_data_ptr<int32_t>()[i]);
        value += by_length[(head * kNumLengthBuckets + bucket) * value_bits + bit];
      }
      values[i * value_bits + bit] = gate.empty() ? value : value * gate[i];
    }
  }
  multiply(values.get(), count, std::array{Product{&adapters_->weight(layer, "o_proj.weight"), output}});
  if (config.bias) {
    const int64_t hidden = model_.config().hidden_size;
    for (int64_t row = 0; row < count; ++row) add(output + row * hidden, of_adapter(layer, "o_proj.bias"), hidden);
  }
  if (config.output_scale == 1) return;
  const auto scale = static_cast<float>(config.output_scale);
  for (int64_t i = 0; i < count * model_.config().hidden_size; ++i) output[i] *= scale;
}

}  // namespace rosa::models
