// Fused suffix attention (SUFA) on the CPU, forward and backward: float32, raw pointers, one thread.
// No T x T matrix and no widened query: memory O(T) a head. tanh, sigmoid and their derivatives are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rosa/kernels/proxy_rows.h"

namespace rosa::kernels {

// One sequence (or one document of it) and the query heads that share one key/value head.
struct SufaProblem {
  int64_t num_heads = 1;        // query heads
  int64_t length = 0;           // T
  int64_t query_bits = 0;       // D, 1 ... 63
  int64_t value_bits = 0;       // M, 1 ... 63
  int64_t num_symbols = 0;      // W: the symbols that a score compares
  int64_t max_distance = 0;     // row t sees columns t - max_distance + 1 ... t; at least 1
  float scale = 1;              // of the scores
  const float* bias = nullptr;  // [padded_length(length)]: added to the score at distance t - j; finite
  int64_t num_hidden = 0;       // 1: no row sees column 0, and row 0 gives 0
};

// How much workspace the two functions below need for this problem: bytes at an address divisible by 8, which need not
// be initialised.
int64_t sufa_workspace_bytes(const SufaProblem& problem);

// output[h][t] = sum over visible j of softmax_j(score(t,j) + bias[t-j]) * value[j], with
// score(t,j) = scale * sum over w < num_symbols of <query[h][t-w], key[j-1-w]> (0 where an index is negative).
// query and key: after tanh, value: after sigmoid; the head stride of key and value is not used.
void sufa_forward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                  std::byte* workspace);

// The gradients, given that of the output. grad_query and grad_key, or grad_value, may be left out (null). grad_key and
// grad_value are summed over the query heads in order.
void sufa_backward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
                   Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace);

}  // namespace rosa::kernels
