// The adapter against rosa_soft: outputs in training and in evaluation, and every gradient.
// Sizes and settings of each case are in adapter.safetensors' metadata.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/safetensors.h"
#include "models/adapter.h"
#include "tests/support/goldens.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

using testing::load_tensor;

constexpr double kTolerance = 1e-5;

AdapterConfig config_of(const nlohmann::json& settings) {
  AdapterConfig config = rosa_soft_adapter_config();
  config.num_heads = settings.at("num_heads");
  config.num_key_value_heads = settings.at("num_key_value_heads");
  config.query_key_bits = settings.at("num_query_key_bits");
  config.value_bits = settings.at("num_value_bits");
  config.bias = settings.at("bias");
  config.estimator = settings.at("proxy") == "sufa" ? "sufa" : "soft_rosa";
  config.proxy_mask = ProxyMask::causal;
  config.sufa_head_dim = settings.at("sufa_head_dim");
  config.position_bias = settings.at("sufa_add_position").get<bool>() ? PositionBias::exp : PositionBias::none;
  return config;
}

TEST(AdapterGolden, OutputsAndGradients) {
  const base::SafetensorsFile file(testing::goldens_folder() / "adapter.safetensors");
  HostExecutor executor(2);
  for (const std::string& name : testing::golden_cases(file)) {
    SCOPED_TRACE(name);
    const nlohmann::json settings = testing::golden_metadata(file, name);
    ModelConfig model;
    model.hidden_size = settings.at("hidden_size");
    model.num_hidden_layers = 1;
    AdapterSet adapters(config_of(settings), model, /*seed=*/0);
    const std::string prefix = "model.layers.0.self_attn.rosa_attn.";
    {
      const at::NoGradGuard no_gradient;
      for (auto& [full_name, parameter] : adapters.parameters()) {
        parameter.copy_(load_tensor(file, name + ".param." + full_name.substr(prefix.size())));
      }
    }
    const at::Tensor hidden = load_tensor(file, name + ".hidden_states").requires_grad_(true);
    AdapterCall call;
    call.executor = &executor;
    call.options.alpha = settings.at("alpha");
    call.options.bits_tau = settings.at("bits_tau");
    call.options.attn_tau = settings.at("attn_tau");
    call.options = adapters.operator_options(call.options, 0);

    const at::Tensor evaluated = adapters.forward(0, hidden, call);
    testing::expect_close(evaluated, load_tensor(file, name + ".output_eval"), kTolerance, "output_eval");
    call.options.training = true;
    const at::Tensor trained = adapters.forward(0, hidden, call);
    testing::expect_close(trained, load_tensor(file, name + ".output_train"), kTolerance, "output_train");
    trained.backward(load_tensor(file, name + ".grad_output"));
    testing::expect_close(hidden.grad(), load_tensor(file, name + ".grad.hidden_states"), kTolerance, "hidden_states");
    for (const auto& [full_name, parameter] : adapters.parameters()) {
      const std::string short_name = full_name.substr(prefix.size());
      testing::expect_close(parameter.grad(), load_tensor(file, name + ".grad." + short_name), kTolerance, short_name);
    }
  }
}

}  // namespace
}  // namespace rosa::models
