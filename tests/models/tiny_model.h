// Small random models and adapters that do something, for the tests of this room.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <stdlib.h>

#include <string_view>

#include "models/adapter.h"
#include "models/causal_model.h"

namespace rosa::models {

// Makes a lone row's matrix product equal that row's in a batch, as the program does: set before the first product.
inline const int kReproducibleProducts = ::setenv("MKL_CBWR", "AUTO,STRICT", 0);

// More would only wait for each other at these sizes.
inline const int kThreads = (at::set_num_threads(1), at::get_num_threads());

inline ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = 61;
  config.hidden_size = 48;
  config.intermediate_size = 80;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.initializer_range = 0.15;
  return config;
}

// Adapters whose output is as large as the attention's from the start.
inline AdapterConfig lively_adapter_config() {
  AdapterConfig config = plain_adapter_config();
  config.query_key_bits = 4;
  config.value_bits = 3;
  config.sufa_head_dim = 32;
  config.num_heads = 6;
  config.num_key_value_heads = 3;
  config.zero_output_start = false;
  return config;
}

// The same with every gate, after the MLP, and with queries of two inputs.
inline AdapterConfig gated_adapter_config(Agreement agreement) {
  AdapterConfig config = lively_adapter_config();
  config.layers = {0, 1, 2, 3};  // the last one before the final norm
  config.num_key_value_heads = 2;
  config.place = AdapterPlace::mlp;
  config.gates = {"length", "hidden", "agreement"};
  config.agreement = agreement;
  config.mixed_queries = true;
  if (agreement == Agreement::full) config.candidates = Candidates::mean;
  config.output_scale = 0.5;
  return config;
}

// Weights of gates and values that matter: fresh ones leave every gate at 1.
inline void stir_gates(AdapterSet& adapters) {
  const at::NoGradGuard no_gradient;
  at::manual_seed(23);
  for (auto& [name, parameter] : adapters.parameters()) {
    const std::string_view last = std::string_view(name).substr(name.rfind('.') + 1);
    if (last.starts_with("g_") || last.starts_with("u_")) parameter.add_(at::randn_like(parameter), 0.3);
  }
}

inline AdapterSet gated_adapters(Agreement agreement, uint64_t seed) {
  AdapterSet adapters(gated_adapter_config(agreement), tiny_config(), seed);
  stir_gates(adapters);
  return adapters;
}

inline at::Tensor random_ids(int64_t batch, int64_t length, int64_t vocab_size, uint64_t seed = 1) {
  at::manual_seed(seed);
  // Few symbols, so that texts repeat themselves.
  return at::randint(0, std::min<int64_t>(vocab_size, 9), {batch, length}, at::kLong);
}

}  // namespace rosa::models
