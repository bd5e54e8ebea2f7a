// A model whose projections come from a LayerSource: the bits of one that has them, in forward and backward, with and
// without biases and checkpointing; and what is asked for when.
#include "models/layer_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "tiny_model.h"

namespace rosa::models {
namespace {

// Gives out one layer at a time, in a place that the next one overwrites.
class OneLayer final : public LayerSource {
 public:
  explicit OneLayer(const CausalModel& model) {
    for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
      for (size_t i = 0; i < kNumProjections; ++i) {
        weights_.push_back(model.layer_weights(layer)[static_cast<Projection>(i)].weight->clone());
      }
    }
  }
  at::Tensor weight(int64_t layer, Projection projection) override {
    if (asked.empty() || asked.back() != layer) {
      for (const at::Tensor& place : given_) place.fill_(1e30);  // whoever kept a weight of another layer
      given_.clear();
      asked.push_back(layer);
    }
    const auto i = static_cast<size_t>(layer) * kNumProjections + static_cast<size_t>(projection);
    given_.push_back(weights_[i].clone());
    return given_.back();
  }

  std::vector<int64_t> asked;

 private:
  std::vector<at::Tensor> weights_, given_;
};

std::vector<at::Tensor> forward_and_backward(const CausalModel& model, bool checkpointing) {
  at::Tensor first;
  ForwardOptions options;
  options.sliding_window = 5;
  options.activation_checkpointing = checkpointing ? ActivationCheckpointing::full : ActivationCheckpointing::none;
  options.replace_layer_input = [&](int64_t layer, const at::Tensor& hidden) {
    if (layer == 0) first = hidden.detach().requires_grad_();
    return layer == 0 ? first : hidden;
  };
  const at::Tensor hidden = model.hidden_states((at::arange(22) % 17).view({2, 11}), options);
  const at::Tensor sum = (hidden * hidden).sum();
  return {hidden.detach(), torch::autograd::grad({sum}, {first}).front()};
}

TEST(LayerSource, GivesTheBitsOfAModelThatHasItsWeights) {
  for (const ModelFamily family : {ModelFamily::qwen3, ModelFamily::qwen2, ModelFamily::llama}) {
    ModelConfig config = tiny_config();
    config.family = family;
    CausalModel model = CausalModel::random(config, 4);
    for (auto& [name, weight] : model.parameters()) {
      if (name.ends_with(".bias")) weight.normal_(0.0, 0.1);
    }
    for (const bool checkpointing : {false, true}) {
      const auto expected = forward_and_backward(model, checkpointing);
      CausalModel other(config, model.parameters());
      const auto source = std::make_shared<OneLayer>(model);
      for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) other.drop_projections(layer);
      other.set_layer_source(source);
      const auto found = forward_and_backward(other, checkpointing);
      EXPECT_TRUE(at::equal(found[0], expected[0]));
      EXPECT_TRUE(at::equal(found[1], expected[1]));
      EXPECT_THAT(source->asked, ::testing::ElementsAre(0, 1, 2, 1, 0));
      EXPECT_TRUE(other.parameters().at("model.layers.1.mlp.down_proj.weight").is_meta());
      EXPECT_FALSE(other.parameters().at("model.layers.1.input_layernorm.weight").is_meta());
    }
  }
}

}  // namespace
}  // namespace rosa::models
