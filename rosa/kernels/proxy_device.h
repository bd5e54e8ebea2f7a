// The fused proxies on a GPU: raw device pointers and a stream, no LibTorch. Launches return at once; work put on the
// stream afterwards sees the result. proxy_device.cpp or proxy_device_none.cpp; CMake picks one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rosa/kernels/pack_bits_device.h"

namespace rosa::kernels {

// One document: positions [begin, begin + length) of batch row `row`.
struct Segment {
  int32_t row = 0, begin = 0, length = 0;
};

// Everything a launch needs; device pointers. Arrays of bits are contiguous [batch][heads][bits][length], float32;
// tanh, sigmoid and their derivatives are the caller's. SUFA's logit is logit_scale * sum over w of <query, key> +
// bias, soft ROSA's logit_scale * S + bias (sufa.h, soft_rosa.h). The dense surrogate's is
// logit_scale * (sqrt(1 + S) - 1) with a bias of 0, its output the carrier and its inputs signs (dense_surrogate.h).
struct ProxyArguments {
  int64_t num_segments = 0;  // documents; they cover every row
  int64_t max_length = 0;    // of the longest
  int64_t num_heads = 1;     // query heads of a row
  int64_t num_kv_heads = 1;  // a divisor of num_heads
  int64_t length = 0;        // T
  int64_t query_bits = 0;    // D, 1 ... 63
  int64_t value_bits = 0;    // M, 1 ... 63
  int64_t max_distance = 0;  // as in SufaProblem and SoftRosaProblem; at least 1
  int64_t num_symbols = 0;   // SUFA: W
  int64_t num_hidden = 0;    // as in SufaProblem
  float bits_scale = 1;      // soft ROSA; dense surrogate: kMismatchScale / (2 D)
  float bits_offset = 0;     // soft ROSA
  double logit_scale = 1;
  const float* bias = nullptr;  // [max_length]
  const Segment* segments = nullptr;
  const float *query = nullptr, *key = nullptr, *value = nullptr;
  float* output = nullptr;  // may be null for the statistics alone
  // Backward; the gradients are added to what is there.
  const float* grad_output = nullptr;
  float *grad_query = nullptr, *grad_key = nullptr, *grad_value = nullptr;
  // Of every row [batch][num_heads][length], written by the forward where grad_output is given, read by the backward:
  double* log_totals = nullptr;     // log of the softmax's total
  double* means = nullptr;          // mean over the weights of the gradients of the weights
  float* confidences = nullptr;     // soft ROSA: min(1, largest S) ...
  float* grad_best_runs = nullptr;  // ... the gradient of the largest S, and at which distance it is
  int32_t* best_distances = nullptr;
  std::byte* workspace = nullptr;  // of proxy_workspace_bytes; may hold anything
};

enum class ProxyKind { sufa, soft_rosa, dense_surrogate };

// The workspace of either launch, in bytes: O(max_length) a block of the grid, and the grid is limited.
int64_t proxy_workspace_bytes(ProxyKind kind, const ProxyArguments& arguments);

// Fills output and, where grad_output is given, the statistics. Throws base::Error where the launch fails, and
// base::ConfigError in a build without CUDA.
void proxy_forward_on_device(ProxyKind kind, const ProxyArguments& arguments, DeviceStream stream);

// Adds to the gradients, after proxy_forward_on_device with the same grad_output. The order of sums differs from run to
// run (atomic additions).
void proxy_backward_on_device(ProxyKind kind, const ProxyArguments& arguments, DeviceStream stream);

}  // namespace rosa::kernels
