#include "training/plan/flops.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace rosa::training {
namespace {

// One layer of every size different, so that no two matrices can stand for each other.
models::ModelConfig one_layer() {
  models::ModelConfig model;
  model.vocab_size = 101;
  model.hidden_size = 8;
  model.intermediate_size = 13;
  model.num_hidden_layers = 1;
  model.num_attention_heads = 4;
  model.num_key_value_heads = 2;
  model.head_dim = 6;
  return model;
}

// Multiplications and additions of the linear layers of one_layer().
constexpr double kAttentionLayers = 2.0 * (8 * 24 + 8 * 12 + 8 * 12 + 24 * 8);
constexpr double kMlp = 2.0 * (8 * 13 + 8 * 13 + 13 * 8);
constexpr double kLogits = 2.0 * 8 * 101;
constexpr double kAttention = 2.0 * 2 * 24;  // for each position seen

// Four heads of 3 bits for queries and keys and 5 for values, two of keys and values.
models::AdapterConfig adapter(std::vector<int64_t> layers) {
  models::AdapterConfig config = models::plain_adapter_config();
  config.layers = std::move(layers);
  config.num_heads = 4;
  config.num_key_value_heads = 2;
  config.query_key_bits = 3;
  config.value_bits = 5;
  return config;
}
constexpr double kAdapterInputs = 2.0 * 8 * (12 + 6 + 10);
constexpr double kAdapterOutput = 2.0 * 20 * 8;

std::set<std::string> adapter_names(const models::AdapterConfig& config, const models::ModelConfig& model) {
  std::set<std::string> names;
  for (const auto& [name, shape] : models::adapter_parameter_shapes(config, model)) names.insert(name);
  return names;
}

TEST(Flops, VisiblePositions) {
  EXPECT_EQ(mean_visible_positions(1, 0), 1.0);
  EXPECT_EQ(mean_visible_positions(5, 0), 3.0);
  EXPECT_EQ(mean_visible_positions(5, 9), 3.0);
  EXPECT_EQ(mean_visible_positions(5, 2), (1 + 2 + 2 + 2 + 2) / 5.0);
  EXPECT_EQ(mean_visible_positions(5, 2, 1), (1 + 2 + 3 + 3 + 3) / 5.0);
  EXPECT_EQ(mean_visible_positions(5, 3, 9), (1 + 2 + 3 + 4 + 5) / 5.0);
  EXPECT_THROW(mean_visible_positions(0, 0), base::ArgumentError);
  EXPECT_THROW(mean_visible_positions(4, -1), base::ArgumentError);
}

// A single layer with a frozen base: no gradient reaches the attention's own matrices, and none the adapter's input.
TEST(Flops, FrozenBaseOfOneLayer) {
  const models::ModelConfig model = one_layer();
  const models::AdapterConfig config = adapter({0});
  const TokenFlops flops = token_flops({.model = model,
                                        .adapter = &config,
                                        .sequence_length = 5,
                                        .sliding_window = 2,
                                        .teacher = &model,
                                        .trained = adapter_names(config, model)});
  EXPECT_DOUBLE_EQ(flops.teacher_forward, kAttentionLayers + kMlp + kLogits + kAttention * 3.0);
  const double layer = kAttentionLayers + kMlp + kAttention * 1.8 + kAdapterInputs + kAdapterOutput;
  EXPECT_DOUBLE_EQ(flops.student_forward, layer + kLogits);
  EXPECT_DOUBLE_EQ(flops.student_backward, kLogits + kMlp + 2 * kAdapterOutput + kAdapterInputs);
  EXPECT_DOUBLE_EQ(flops.recomputation, layer);
  EXPECT_DOUBLE_EQ(flops.total(), flops.teacher_forward + flops.student_forward + flops.student_backward);
}

// In the layers above, the gradient passes everything: once a frozen matrix, twice the attention and what is trained.
TEST(Flops, GradientsBelowAnAdapterAreNotCounted) {
  models::ModelConfig model = one_layer();
  model.num_hidden_layers = 3;
  const models::AdapterConfig config = adapter({1});
  FlopsInput input{.model = model, .adapter = &config, .sequence_length = 7, .trained = adapter_names(config, model)};
  const double own = kMlp + 2 * kAdapterOutput + kAdapterInputs;  // of layer 1
  const double above = kAttentionLayers + kMlp + 2 * kAttention * 4.0;
  EXPECT_DOUBLE_EQ(token_flops(input).student_backward, own + above + kLogits);
  EXPECT_EQ(token_flops(input).teacher_forward, 0.0);
  EXPECT_DOUBLE_EQ(token_flops(input).recomputation,
                   2 * (kAttentionLayers + kMlp + kAttention * 4.0) + kAdapterInputs + kAdapterOutput);

  models::AdapterConfig hashes = config;
  hashes.query_key_gradient = false;
  input.adapter = &hashes;
  EXPECT_DOUBLE_EQ(token_flops(input).student_backward, own + above + kLogits - 2.0 * 8 * (12 + 6));
}

TEST(Flops, LowRankPairs) {
  const models::ModelConfig model = one_layer();
  FlopsInput input{.model = model, .sequence_length = 4};
  const TokenFlops plain = token_flops(input);
  EXPECT_EQ(plain.student_backward, 0);
  const std::vector<std::string> weights = {"model.layers.0.self_attn.o_proj.weight",
                                            "model.layers.0.mlp.down_proj.weight"};
  input.low_rank = models::low_rank_shapes(model, weights, 2);
  for (const auto& [name, shape] : input.low_rank) input.trained.insert(name);
  const TokenFlops with = token_flops(input);
  const double of_o = 2.0 * (24 * 2 + 2 * 8), of_down = 2.0 * (13 * 2 + 2 * 8);
  EXPECT_EQ(with.student_forward, plain.student_forward + of_o + of_down);
  // The first thing trained is o_proj's pair: no gradient goes to its input. B passes one on to A.
  const double pairs = of_o + 2.0 * 2 * 8 + 2 * of_down;
  EXPECT_EQ(with.student_backward, pairs + kMlp + kLogits);
}

// All of the base trained: twice the forward, less the gradient of what no weight stands before.
TEST(Flops, PretrainingIsThreeForwards) {
  models::ModelConfig model = one_layer();
  model.num_hidden_layers = 2;
  FlopsInput input{.model = model, .sequence_length = 9};
  for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                             "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      input.trained.insert(std::string(layer) + name + ".weight");
    }
  }
  const TokenFlops frozen_ends = token_flops(input);
  EXPECT_DOUBLE_EQ(frozen_ends.student_backward,
                   2 * (frozen_ends.student_forward - kLogits) + kLogits - 2.0 * 8 * (24 + 12 + 12));
  input.trained.insert("model.embed_tokens.weight");
  const TokenFlops flops = token_flops(input);
  EXPECT_EQ(flops.teacher_forward, 0.0);
  EXPECT_DOUBLE_EQ(flops.student_backward, 2 * flops.student_forward);

  model.tie_word_embeddings = false;
  EXPECT_DOUBLE_EQ(token_flops(input).student_backward, 2 * flops.student_forward - kLogits);
}

}  // namespace
}  // namespace rosa::training
