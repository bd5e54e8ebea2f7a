// Small random models and adapters that do something, for the tests of this room.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <stdlib.h>

#include "models/adapter.h"
#include "models/qwen3.h"

namespace rosa::models {

// Makes a lone row's matrix product equal that row's in a batch, as the program does: set before the first product.
inline const int kReproducibleProducts = ::setenv("MKL_CBWR", "AUTO,STRICT", 0);

// More would only wait for each other at these sizes.
inline const int kThreads = (at::set_num_threads(1), at::get_num_threads());

inline Qwen3Config tiny_config() {
  Qwen3Config config;
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
  AdapterConfig config;
  config.query_key_bits = 4;
  config.value_bits = 3;
  config.sufa_head_dim = 32;
  config.num_heads = 6;
  config.num_key_value_heads = 3;
  config.zero_output_start = false;
  return config;
}

inline at::Tensor random_ids(int64_t batch, int64_t length, int64_t vocab_size, uint64_t seed = 1) {
  at::manual_seed(seed);
  // Few symbols, so that texts repeat themselves.
  return at::randint(0, std::min<int64_t>(vocab_size, 9), {batch, length}, at::kLong);
}

}  // namespace rosa::models
