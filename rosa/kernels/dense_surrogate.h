// Fused backward of the dense surrogate on the CPU: float32, raw pointers, one thread. No T x T matrix: memory O(T) a
// head. There is no forward: the hard operator stands there. Signs and the derivatives at logits are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rosa/kernels/proxy_rows.h"

namespace rosa::kernels {

// How many symbols back a route is compared, and what a wholly wrong symbol counts: exp(-kMismatchScale).
inline constexpr int64_t kSurrogateSymbols = 32;
inline constexpr double kMismatchScale = 3;
// Of the route that carries nothing, in the unit of a run of one symbol.
inline constexpr double kNullUtility = 0.5;
// (sqrt(2) + 1): a run of one symbol has utility 1.
inline constexpr double kUtilityScale = 2.414213562373095;

// One sequence (or one document of it) and the query heads that share one key/value head.
struct DenseSurrogateProblem {
  int64_t num_heads = 1;     // query heads
  int64_t length = 0;        // T
  int64_t query_bits = 0;    // D, 1 ... 63
  int64_t value_bits = 0;    // M, 1 ... 63
  int64_t max_distance = 0;  // row t may match at t - max_distance + 1 ... t - 1; at least 1
  float scale = 1;           // of the utilities
};

// How much workspace the function below needs for this problem: bytes at an address divisible by 8, which need not be
// initialised.
int64_t dense_surrogate_workspace_bytes(const DenseSurrogateProblem& problem);

// With m(t,i) = exp(-3 (1 - <query[t], key[i]> / D) / 2) for i < t, 0 where t may not match at i,
// S(t,a) = sum over l = 1 ... 32 of the product over u < l of m(t-u, a-1-u), U = (sqrt(2) + 1) (sqrt(1 + S) - 1):
//   carrier(t) = sum over the n routes a = 1 ... t with m(t, a-1) > 0 of P(t,a) value[a],
//   P(t,.) = softmax of scale U(t,a) - log(n), and of scale / 2 for a route that carries 0.
// query, key and value: signs, -1 or 1. grad_output is the gradient of the carrier. grad_query and grad_key, or
// grad_value, may be left out (null). grad_key and grad_value are summed over the query heads in order.
void dense_surrogate_backward(const DenseSurrogateProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                              ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value,
                              std::byte* workspace);

}  // namespace rosa::kernels
