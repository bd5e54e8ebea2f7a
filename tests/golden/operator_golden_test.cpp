// The hard operator, both proxies with their gradients, and the 1-bit gate against the reference programs' results.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "rosa/estimators/estimated_gate.h"
#include "rosa/operator/one_bit_gate.h"
#include "rosa/operator/proxies.h"
#include "rosa/operator/qkv_estimator.h"
#include "rosa/operator/rosa_operator.h"
#include "tests/support/goldens.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using nlohmann::json;
using testing::expect_close;
using testing::golden_cases;
using testing::golden_metadata;
using testing::goldens_folder;
using testing::load_tensor;
using testing::load_tensor_if_there;

constexpr double kTolerance = 1e-5;

OperatorInput load_input(const base::SafetensorsFile& file, const std::string& name) {
  return {load_tensor(file, name + ".query"), load_tensor(file, name + ".key"), load_tensor(file, name + ".value"),
          load_tensor_if_there(file, name + ".mask"), at::Tensor()};
}

TEST(OperatorGolden, HardOperator) {
  const base::SafetensorsFile file(goldens_folder() / "rosa_hard.safetensors");
  HostExecutor executor(2);
  const auto cases = golden_cases(file);
  ASSERT_FALSE(cases.empty());
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    const at::Tensor expected = load_tensor(file, name + ".output");
    const OperatorInput input = load_input(file, name);
    const OperatorOutput evaluation = rosa_operator(input, {}, executor);
    EXPECT_TRUE(testing::is_equal(evaluation.bits, expected));
    OperatorOptions training;
    training.training = true;
    training.sufa_head_dim = input.query.size(3);
    EXPECT_TRUE(testing::is_equal(rosa_operator(input, training, executor).bits, expected));
  }
}

// The mask of a case that names a sliding window; some files hold it as a tensor too.
at::Tensor window_mask(const json& settings, int64_t length) {
  if (!settings.at("mask").is_object()) return {};
  const int64_t window = settings.at("mask").at("sliding_window");
  return at::ones({1, 1, length, length}, at::kBool).tril().triu(1 - window);
}

// Compares the plain composition (autograd), the operator's forms of it, and the operator at alpha 0.
void check_proxy(const base::SafetensorsFile& file, const std::string& name, Proxy proxy,
                 const OperatorOptions& options) {
  OperatorInput input = load_input(file, name);
  if (!input.mask.defined()) input.mask = window_mask(golden_metadata(file, name), input.query.size(2));
  const at::Tensor expected = load_tensor(file, name + ".output");
  const at::Tensor grad_output = load_tensor(file, name + ".grad_output");
  const std::array<at::Tensor, 3> expected_gradients{load_tensor(file, name + ".grad_query"),
                                                     load_tensor(file, name + ".grad_key"),
                                                     load_tensor(file, name + ".grad_value")};
  expect_close(proxy_forward(proxy, input, options), expected, kTolerance, "forward");
  expect_close(proxy_blocks_forward(proxy, input, options), expected, kTolerance, "blocks forward");
  const std::array<bool, 3> all{true, true, true};
  if (proxy == Proxy::sufa) {
    OperatorOptions by_sdpa = options;
    by_sdpa.proxy_kernel = ProxyKernel::sdpa;
    expect_close(proxy_forward(proxy, input, by_sdpa), expected, kTolerance, "sdpa forward");
    const auto sdpa_gradients = proxy_backward(proxy, input, by_sdpa, grad_output, all);
    for (size_t i = 0; i < 3; ++i) expect_close(sdpa_gradients[i], expected_gradients[i], kTolerance, "sdpa backward");
  }
  const auto gradients = proxy_backward(proxy, input, options, grad_output, all);
  const auto blocks_gradients = proxy_blocks_backward(proxy, input, options, grad_output, all);
  for (size_t i = 0; i < 3; ++i) {
    expect_close(gradients[i], expected_gradients[i], kTolerance, "backward");
    expect_close(blocks_gradients[i], expected_gradients[i], kTolerance, "blocks backward");
  }

  const auto leaf = [](const at::Tensor& tensor) { return tensor.detach().clone().requires_grad_(); };
  const OperatorInput leaves{leaf(input.query), leaf(input.key), leaf(input.value), input.mask, input.documents};
  const auto check_gradients = [&](const at::Tensor& output, const std::string& what) {
    expect_close(output, expected, kTolerance, what);
    const auto result = torch::autograd::grad({output}, {leaves.query, leaves.key, leaves.value}, {grad_output});
    for (size_t i = 0; i < 3; ++i) expect_close(result[i], expected_gradients[i], kTolerance, what);
  };
  check_gradients(proxy_composition(proxy, leaves, options), "composition");
  HostExecutor executor(1);
  OperatorOptions training = options;
  training.training = true;
  training.alpha = 0;
  check_gradients(rosa_operator(leaves, training, executor).bits, "operator");
}

OperatorOptions proxy_options(const json& settings, Proxy proxy) {
  OperatorOptions options;
  options.estimator = &find_qkv_estimator(proxy == Proxy::sufa ? "sufa" : "soft_rosa");
  options.bits_tau = settings.at("bits_tau");
  options.attn_tau = settings.at("attn_tau");
  if (settings.contains("head_dim")) options.sufa_head_dim = settings.at("head_dim");
  if (settings.contains("add_position") && !settings.at("add_position").get<bool>())
    options.position_bias = PositionBias::none;
  if (settings.contains("position_bias")) {
    EXPECT_EQ(settings.at("position_bias"), "log");
    options.position_bias = PositionBias::log;
  }
  return options;
}

void check_proxy_file(const std::string& file_name, Proxy proxy) {
  const base::SafetensorsFile file(goldens_folder() / file_name);
  const auto cases = golden_cases(file);
  ASSERT_FALSE(cases.empty());
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    const json settings = golden_metadata(file, name);
    check_proxy(file, name, proxy, proxy_options(settings, proxy));
  }
}

TEST(OperatorGolden, Sufa) { check_proxy_file("sufa.safetensors", Proxy::sufa); }
TEST(OperatorGolden, SoftRosa) { check_proxy_file("rosa_soft.safetensors", Proxy::soft_rosa); }
TEST(OperatorGolden, LogarithmicSufa) { check_proxy_file("minirosa_sufa.safetensors", Proxy::sufa); }
TEST(OperatorGolden, LogarithmicSoftRosa) { check_proxy_file("minirosa_rosa_soft.safetensors", Proxy::soft_rosa); }

// A mask that is a sliding window gives what the option gives.
TEST(OperatorGolden, SlidingWindowOption) {
  for (const auto& [file_name, proxy] :
       {std::pair{"sufa.safetensors", Proxy::sufa}, std::pair{"rosa_soft.safetensors", Proxy::soft_rosa},
        std::pair{"minirosa_sufa.safetensors", Proxy::sufa},
        std::pair{"minirosa_rosa_soft.safetensors", Proxy::soft_rosa}}) {
    const base::SafetensorsFile file(goldens_folder() / file_name);
    for (const std::string& name : golden_cases(file)) {
      const json settings = golden_metadata(file, name);
      if (!settings.at("mask").is_object() || !settings.at("mask").contains("sliding_window")) continue;
      SCOPED_TRACE(file_name + (" " + name));
      OperatorOptions options = proxy_options(settings, proxy);
      options.proxy_mask = ProxyMask::sliding_window;
      options.sliding_window = settings.at("mask").at("sliding_window");
      OperatorInput input = load_input(file, name);
      input.mask = at::Tensor();
      expect_close(proxy_forward(proxy, input, options), load_tensor(file, name + ".output"), kTolerance);
      const auto gradients =
          proxy_backward(proxy, input, options, load_tensor(file, name + ".grad_output"), {true, true, true});
      expect_close(gradients[0], load_tensor(file, name + ".grad_query"), kTolerance);
      expect_close(gradients[1], load_tensor(file, name + ".grad_key"), kTolerance);
      expect_close(gradients[2], load_tensor(file, name + ".grad_value"), kTolerance);
    }
  }
}

TEST(OperatorGolden, OneBitGate) {
  const base::SafetensorsFile file(goldens_folder() / "fast_rosa.safetensors");
  HostExecutor executor(2);
  const auto cases = golden_cases(file);
  ASSERT_FALSE(cases.empty());
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    const at::Tensor emb0 = load_tensor(file, name + ".emb0").requires_grad_();
    const at::Tensor emb1 = load_tensor(file, name + ".emb1").requires_grad_();
    const OneBitGateOutput gate = one_bit_gate(load_tensor(file, name + ".x"), emb0, emb1, executor);
    EXPECT_TRUE(testing::is_equal(gate.index, load_tensor(file, name + ".index")));
    EXPECT_TRUE(testing::is_equal(gate.output, load_tensor(file, name + ".output")));
    const auto gradients =
        torch::autograd::grad({gate.output}, {emb0, emb1}, {load_tensor(file, name + ".grad_output")});
    expect_close(gradients[0], load_tensor(file, name + ".flip.grad_emb0"), kTolerance);
    expect_close(gradients[1], load_tensor(file, name + ".flip.grad_emb1"), kTolerance);
  }
}

// FLIP, and DisARM in FastRosa's form with the uniform numbers of the reference.
TEST(OperatorGolden, GateEstimators) {
  const base::SafetensorsFile file(goldens_folder() / "fast_rosa.safetensors");
  HostExecutor executor(2);
  GateEstimatorConfig flip_config, disarm_config;
  flip_config.name = "flip";
  disarm_config.name = "disarm";
  disarm_config.compatible = "fastrosa";
  disarm_config.scope = RewardScope::joint;
  const auto flip = make_gate_estimator(flip_config), disarm = make_gate_estimator(disarm_config);
  for (const std::string& name : golden_cases(file)) {
    SCOPED_TRACE(name);
    const json settings = golden_metadata(file, name);
    ASSERT_EQ(settings.at("tau_prob").get<double>(), disarm_config.temperature);
    GateCall call;
    call.x = load_tensor(file, name + ".x");
    call.index = load_tensor(file, name + ".index");
    call.emb0 = load_tensor(file, name + ".emb0");
    call.emb1 = load_tensor(file, name + ".emb1");
    call.grad_output = load_tensor(file, name + ".grad_output");
    expect_close(flip->gradient(call, executor), load_tensor(file, name + ".flip.grad_x"), kTolerance, "flip");
    call.uniforms = load_tensor(file, name + ".disarm.uniform").unsqueeze(0);
    expect_close(disarm->gradient(call, executor), load_tensor(file, name + ".disarm.grad_x"), kTolerance, "disarm");

    const at::Tensor x = call.x.clone().requires_grad_(), emb0 = call.emb0.clone().requires_grad_(),
                     emb1 = call.emb1.clone().requires_grad_();
    const at::Tensor output = estimated_gate(x, emb0, emb1, *flip, {}, executor);
    EXPECT_TRUE(testing::is_equal(output, load_tensor(file, name + ".output")));
    const auto gradients = torch::autograd::grad({output}, {x, emb0, emb1}, {call.grad_output});
    expect_close(gradients[0], load_tensor(file, name + ".flip.grad_x"), kTolerance, "x");
    expect_close(gradients[1], load_tensor(file, name + ".flip.grad_emb0"), kTolerance, "emb0");
    expect_close(gradients[2], load_tensor(file, name + ".flip.grad_emb1"), kTolerance, "emb1");
  }
}

}  // namespace
}  // namespace rosa
