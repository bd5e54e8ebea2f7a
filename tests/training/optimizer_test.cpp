#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "base/error.h"
#include "parallel/gradient_reducer.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"
#include "rosa/operator/tensor_bytes.h"
#include "training/backward_order.h"

namespace rosa::training {
namespace {

parallel::FlatLayout layout_of(const NamedTensors& parameters, int world_size = 1) {
  std::vector<int64_t> sizes;
  std::vector<size_t> placement;
  for (const auto& entry : parameters) {
    sizes.push_back(entry.second.numel());
    placement.insert(placement.begin(), placement.size());
  }
  return {sizes, placement, /*bucket_elements=*/5000, world_size};
}

// The gradient of a parameter within a flat one.
at::Tensor gradient_of(const at::Tensor& flat, const parallel::FlatLayout& layout, size_t tensor) {
  return flat.narrow(0, layout.offset(tensor), layout.size(tensor));
}

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
  // The third is of the second group only: the first that matches counts, with all its settings.
  const OptimizerConfig config{
      .groups = {{.pattern = "*q_proj*", .rate = 0.5}, {.pattern = "*_proj*", .weight_decay = 0.0}}};
  const auto communicator = parallel::make_single_communicator();
  const parallel::FlatLayout layout = layout_of(parameters);
  AdamW optimizer(config, parameters, layout, *communicator, /*sharded=*/true);
  for (int step = 1; step <= 5; ++step) {
    const at::Tensor flat = at::randn({layout.length()});
    optimizer.step(flat, 1e-2);
    size_t tensor = 0;
    for (auto& [name, p] : expected) {
      const at::Tensor g = gradient_of(flat, layout, tensor++).view(p.sizes()).to(at::kDouble);
      const double lr = name == "a.q_proj.weight" ? 0.5e-2 : 1e-2;
      p.mul_(1 - lr * (name == "c.o_proj.weight" ? 0.0 : config.weight_decay));
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
  const auto communicator = parallel::make_single_communicator();
  const parallel::FlatLayout layout = layout_of(one);
  AdamW first({}, one, layout, *communicator, false);
  const at::Tensor g1 = at::randn({layout.length()}), g2 = at::randn({layout.length()});
  first.step(g1, 1e-3);
  for (const auto& [name, p] : one) two[name] = p.clone();
  AdamW second({}, two, layout, *communicator, false);
  second.load_state(first.save_state());
  first.step(g2, 1e-3);
  second.step(g2, 1e-3);
  for (const auto& [name, p] : one) EXPECT_TRUE(at::equal(p, two[name])) << name;
  auto broken = first.save_state();
  broken.tensors.erase("b.v_emb0.first_moment");
  EXPECT_THROW(second.load_state(broken), base::CheckpointError);
}

// Sharded over any number of ranks: the weights and the saved state of one rank, from a part of the memory; and a state
// saved by one number of ranks loads on another.
TEST(Optimizer, ShardingChangesNoBitAndSavesTheSameState) {
  const OptimizerConfig config{.rate_patterns = {"*v_emb0"}, .rate_factors = {0.25}};
  const auto gradient = [](const parallel::FlatLayout& layout, int step) {
    at::Tensor flat = at::full({layout.length()}, std::numeric_limits<float>::quiet_NaN());  // unless overwritten
    for (size_t tensor = 0; tensor < layout.num_tensors(); ++tensor) {
      const at::Tensor index = at::arange(layout.size(tensor), at::kFloat);
      gradient_of(flat, layout, tensor).copy_(at::sin(index * (1.3 + step) + static_cast<double>(tensor)));
    }
    return flat;
  };
  std::map<std::string, std::vector<std::byte>> expected;
  const auto check = [&](const std::string& name, const base::StateTensor& state) {
    const auto entry = expected.try_emplace(name, state.bytes).first;
    EXPECT_EQ(entry->second, state.bytes) << name;
  };
  base::StateDict saved;
  int64_t whole_bytes = 0;
  for (const int num_ranks : {1, 2, 3, 4}) {
    std::mutex mutex;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      at::set_num_threads(1);
      NamedTensors parameters;
      {
        const std::lock_guard lock(mutex);
        parameters = random_parameters(5);
      }
      const parallel::FlatLayout layout = layout_of(parameters, num_ranks);
      AdamW optimizer(config, parameters, layout, communicator, /*sharded=*/true);
      for (int step = 0; step < 3; ++step) {
        const at::Tensor flat = gradient(layout, step);
        for (size_t bucket = 0; bucket < layout.num_buckets(); ++bucket) {
          for (int other = 0; other < num_ranks; ++other) {  // what other ranks own must not be looked at
            const parallel::FlatRange part = layout.part(bucket, other);
            if (other != communicator.rank()) flat.slice(0, part.begin, part.end).fill_(std::nan(""));
          }
        }
        optimizer.step(flat, 1e-2);
      }
      const base::StateDict state = optimizer.save_state();
      const std::lock_guard lock(mutex);
      for (const auto& [name, tensor] : state.tensors) check(name, tensor);
      for (const auto& [name, tensor] : parameters) check(name, to_state(tensor));
      if (num_ranks == 1) whole_bytes = optimizer.state_bytes();
      if (num_ranks == 2 && communicator.rank() == 0) {
        EXPECT_LT(optimizer.state_bytes(), whole_bytes * 3 / 4);
      }
      if (num_ranks == 3) saved = state;
    });
  }
  EXPECT_EQ(expected.size(), 9u);
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    const NamedTensors parameters = {{"a.q_proj.weight", at::zeros({70, 80})},
                                     {"b.v_emb0", at::zeros({33})},
                                     {"c.o_proj.weight", at::zeros({5, 7})}};
    AdamW optimizer(config, parameters, layout_of(parameters, 2), communicator, /*sharded=*/true);
    optimizer.load_state(saved);
    const base::StateDict again = optimizer.save_state();
    EXPECT_EQ(again.values, saved.values);
    for (const auto& [name, tensor] : saved.tensors) EXPECT_EQ(again.tensors.at(name).bytes, tensor.bytes) << name;
  });
}

TEST(BackwardOrder, IsFromTheHeadToTheFirstLayer) {
  const std::vector<std::string> names = {"lm_head.weight",        "model.embed_tokens.weight", "model.layers.0.mlp.a",
                                          "model.layers.10.mlp.a", "model.layers.2.mlp.a",      "model.layers.2.mlp.b",
                                          "model.norm.weight"};
  EXPECT_EQ(backward_order(names), (std::vector<size_t>{0, 6, 3, 5, 4, 2, 1}));
}

TEST(Optimizer, ClippingScalesByTheNorm) {
  at::Tensor flat = at::full({4}, 3.0);
  clip_gradient(flat, 6.0, 0.0);
  EXPECT_EQ(flat[0].item<float>(), 3.0f);
  clip_gradient(flat, 6.0, 1.0);
  EXPECT_NEAR(flat[0].item<double>(), 3.0 / (6.0 + 1e-6), 1e-6);
}

// Of the base model; adapters are decayed whole, and a group says what it likes.
TEST(Optimizer, NormsBiasesAndEmbeddingsAreNotDecayed) {
  OptimizerConfig config{.weight_decay = 0.3};
  const std::map<std::string, double> decays = {{"model.embed_tokens.weight", 0.0},
                                                {"model.norm.weight", 0.0},
                                                {"model.layers.0.input_layernorm.weight", 0.0},
                                                {"model.layers.0.self_attn.q_norm.weight", 0.0},
                                                {"model.layers.0.self_attn.q_proj.bias", 0.0},
                                                {"model.layers.0.self_attn.q_proj.weight", 0.3},
                                                {"model.layers.0.self_attn.rosa_attn.q_proj.bias", 0.3},
                                                {"model.layers.0.self_attn.rosa_attn.v_emb0", 0.3},
                                                {"lm_head.weight", 0.3}};
  for (const auto& [name, decay] : decays) EXPECT_EQ(parameter_settings(config, name).weight_decay, decay) << name;
  config.groups = {{.pattern = "*.norm.weight", .weight_decay = 0.1}};
  EXPECT_EQ(parameter_settings(config, "model.norm.weight").weight_decay, 0.1);
  config.weight_decay_on = WeightDecayOn::all;
  config.groups.clear();
  for (const auto& entry : decays) EXPECT_EQ(parameter_settings(config, entry.first).weight_decay, 0.3) << entry.first;
}

TEST(Optimizer, SummariesTellWhatTheGroupsHold) {
  NamedTensors parameters = random_parameters(6);
  parameters["d.norm.weight"] = at::ones({3});
  parameters["e.untrained"] = at::ones({1000});
  OptimizerConfig config{.groups = {{.pattern = "*.o_proj.*", .rate = 0.0}, {.pattern = "*v_emb*", .rate = 0.25}}};
  const auto summaries = [&] {
    std::string text;
    for (const GroupSummary& group : group_summaries(parameters, {"*_proj*", "*emb*", "*norm*"}, config)) {
      text += base::concat(group.pattern, ": ", group.num_tensors, ", ", group.num_elements, ", x", group.settings.rate,
                           ", ", group.settings.weight_decay, "; ");
    }
    return text;
  };
  EXPECT_EQ(summaries(), "*.o_proj.*: 1, 35, x0, 0.1; *v_emb*: 1, 33, x0.25, 0.1; : 1, 5600, x1, 0.1; : 1, 3, x1, 0; ");
  config.rate_patterns = {"*.o_proj.*", "*v_emb*"};
  config.rate_factors = {0.0, 0.25};
  config.groups.clear();
  EXPECT_EQ(summaries(), "*.o_proj.*: 1, 35, x0, 0.1; *v_emb*: 1, 33, x0.25, 0.1; : 1, 5600, x1, 0.1; : 1, 3, x1, 0; ");
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
