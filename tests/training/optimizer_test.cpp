#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"

namespace rosa::training {
namespace {

NamedTensors random_parameters(uint64_t seed) {
  at::manual_seed(seed);
  return {
      {"a.q_proj.weight", at::randn({70, 80})}, {"b.v_emb0", at::randn({33})}, {"c.o_proj.weight", at::randn({5, 7})}};
}

TEST(Optimizer, AdamWEqualsTheFormula) {
  NamedTensors parameters = random_parameters(1);
  NamedTensors expected;
  std::map<std::string, at::Tensor> m, v;
  for (const auto& [name, p] : parameters) {
    expected[name] = p.to(at::kDouble).clone();
    m[name] = at::zeros_like(expected[name]);
    v[name] = at::zeros_like(expected[name]);
  }
  const OptimizerConfig config{.rate_patterns = {"*q_proj*"}, .rate_factors = {0.5}};
  AdamW optimizer(config, parameters);
  for (int step = 1; step <= 5; ++step) {
    const at::Tensor flat = at::randn({flat_size(parameters)});
    optimizer.step(flat, 1e-2);
    int64_t offset = 0;
    for (auto& [name, p] : expected) {
      const at::Tensor g = flat.narrow(0, offset, p.numel()).view(p.sizes()).to(at::kDouble);
      offset += p.numel();
      const double lr = name == "a.q_proj.weight" ? 0.5e-2 : 1e-2;
      p.mul_(1 - lr * config.weight_decay);
      m[name] = m[name] * config.beta1 + g * (1 - config.beta1);
      v[name] = v[name] * config.beta2 + g * g * (1 - config.beta2);
      const at::Tensor m_hat = m[name] / (1 - std::pow(config.beta1, step));
      const at::Tensor v_hat = v[name] / (1 - std::pow(config.beta2, step));
      p.sub_(m_hat / (v_hat.sqrt() + config.epsilon) * lr);
    }
  }
  for (const auto& [name, p] : parameters) {
    EXPECT_LE((p.to(at::kDouble) - expected[name]).abs().max().item<double>(), 1e-6) << name;
  }
}

TEST(Optimizer, ALoadedStateGoesOnBitForBit) {
  NamedTensors one = random_parameters(2), two;
  AdamW first({}, one);
  const at::Tensor g1 = at::randn({flat_size(one)}), g2 = at::randn({flat_size(one)});
  first.step(g1, 1e-3);
  for (const auto& [name, p] : one) two[name] = p.clone();
  AdamW second({}, two);
  second.load_state(first.save_state());
  first.step(g2, 1e-3);
  second.step(g2, 1e-3);
  for (const auto& [name, p] : one) EXPECT_TRUE(at::equal(p, two[name])) << name;
  auto broken = first.save_state();
  broken.tensors.erase("b.v_emb0.first_moment");
  EXPECT_THROW(second.load_state(broken), base::CheckpointError);
}

TEST(Optimizer, GradientsAreTakenInNameOrderAndMissingOnesAreZero) {
  NamedTensors parameters = random_parameters(3);
  parameters.at("b.v_emb0").mutable_grad() = at::full({33}, 2.0);
  const at::Tensor flat = take_flat_gradient(parameters);
  EXPECT_EQ(flat.narrow(0, 5600, 33).sum().item<float>(), 66.0f);
  EXPECT_EQ(flat.sum().item<float>(), 66.0f);
  EXPECT_FALSE(parameters.at("b.v_emb0").grad().defined());
  EXPECT_DOUBLE_EQ(gradient_norm(parameters, flat), std::sqrt(33 * 4.0));
}

TEST(Optimizer, ClippingScalesByTheNorm) {
  at::Tensor flat = at::full({4}, 3.0);
  clip_gradient(flat, 6.0, 0.0);
  EXPECT_EQ(flat[0].item<float>(), 3.0f);
  clip_gradient(flat, 6.0, 1.0);
  EXPECT_NEAR(flat[0].item<double>(), 3.0 / (6.0 + 1e-6), 1e-6);
}

TEST(Optimizer, PatternsSelectAndFreeze) {
  const NamedTensors parameters = random_parameters(4);
  const OptimizerConfig freeze{.rate_patterns = {"*.o_proj.*"}, .rate_factors = {0.0}};
  const NamedTensors trained = select_trained(parameters, {"*"}, freeze);
  EXPECT_EQ(trained.size(), 2u);
  EXPECT_FALSE(trained.contains("c.o_proj.weight"));
  EXPECT_THROW(select_trained(parameters, {"*.k_proj.*"}, {}), base::ConfigError);
  EXPECT_THROW(select_trained(parameters, {"*"}, {.rate_patterns = {"*typo*"}, .rate_factors = {0.0}}),
               base::ConfigError);
  EXPECT_THROW(select_trained(parameters, {"*"}, {.rate_patterns = {"*"}, .rate_factors = {}}), base::ConfigError);
  EXPECT_TRUE(matches_pattern("model.layers.0.x", "*layers*x"));
  EXPECT_FALSE(matches_pattern("model.layers.0.xy", "*layers*x"));
}

}  // namespace
}  // namespace rosa::training
