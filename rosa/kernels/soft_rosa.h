// Fused soft ROSA on the CPU, forward and backward: raw pointers, one thread, float32 with the sums along diagonals in
// float64. No T x T matrix: memory O(T) a head. tanh, sigmoid and their derivatives are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rosa/kernels/proxy_rows.h"

namespace rosa::kernels {

// The backward walks this many neighbouring diagonals at a time, and keeps two numbers of each of their cells.
constexpr int64_t kSoftRosaStrip = 64;

// One sequence (or one document of it) and the query heads that share one key/value head.
struct SoftRosaProblem {
  int64_t num_heads = 1;        // query heads
  int64_t length = 0;           // T, below 2^31
  int64_t query_bits = 0;       // D, 1 ... 63
  int64_t value_bits = 0;       // M, 1 ... 63
  int64_t max_distance = 0;     // a(t,i) is 0 where t - i >= max_distance; at least 1
  float bits_scale = 1;         // of <query, key> within the sigmoid: 1 / tau_b
  float bits_offset = 0;        // subtracted from it: (D - 1) (1 - tau_b) / tau_b
  double logit_scale = 1;       // of the runs S within the softmax: 1 / tau_a
  const float* bias = nullptr;  // [padded_length(length)]: added to the logit at distance t - j; finite
};

// How much workspace the two functions below need for this problem: bytes at an address divisible by 8, which need not
// be initialised.
int64_t soft_rosa_workspace_bytes(const SoftRosaProblem& problem);

// With a(t,i) = sigmoid(bits_scale <query[t], key[i]> - bits_offset) for i < t, c its running sum along each diagonal
// and r the running maximum of c (1 - a); S(t,0) = 0, S(t,i+1) = (c - r)(t,i):
// output[h][t] = min(1, max_j S(t,j)) sum over j <= t of softmax_j(logit_scale S(t,j) + bias[t-j]) value[j].
// query and key: after tanh, value: after sigmoid; the head stride of key and value is not used.
void soft_rosa_forward(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                       std::byte* workspace);

// The gradients, given that of the output; the outputs as in sufa_backward. A maximum's gradient goes to one of its
// cells, the largest S to that with the smallest distance.
void soft_rosa_backward(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                        ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace);

}  // namespace rosa::kernels
