// Fused suffix attention (SUFA) on the CPU, forward and backward: float32, raw pointers, one thread.
// No T x T matrix and no widened query: memory O(T) a head. tanh, sigmoid and their derivatives are the caller's.
#pragma once

#include <cstdint>

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
};

// Rows [head][t][bit]; bits are contiguous, strides in elements.
struct ConstRows {
  const float* data = nullptr;
  int64_t head_stride = 0;
  int64_t row_stride = 0;
};
struct Rows {
  float* data = nullptr;
  int64_t head_stride = 0;
  int64_t row_stride = 0;
};

// How many elements a `bias` of `length` distances must have.
int64_t padded_length(int64_t length);
// How many floats of workspace the two functions below need for this problem; they need not be initialised.
int64_t sufa_workspace_size(const SufaProblem& problem);

// output[h][t] = sum over visible j of softmax_j(score(t,j) + bias[t-j]) * value[j], with
// score(t,j) = scale * sum over w < num_symbols of <query[h][t-w], key[j-1-w]> (0 where an index is negative).
// query and key: after tanh, value: after sigmoid; the head stride of key and value is not used.
void sufa_forward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                  float* workspace);

// The gradients, given that of the output. grad_query and grad_key, or grad_value, may be left out (null). grad_key and
// grad_value are summed over the query heads in order.
void sufa_backward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
                   Rows grad_query, Rows grad_key, Rows grad_value, float* workspace);

// The instruction set that this process uses: "avx512", "avx2" or "portable". Sums differ in the last bits between
// them.
const char* sufa_instruction_set();

}  // namespace rosa::kernels
