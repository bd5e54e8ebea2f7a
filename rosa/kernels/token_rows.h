// The arithmetic of single tokens on the CPU, as a generation needs it: products of rows with a matrix, the norm, the
// gated product and the attention of one token. Every result is the same bits whatever is computed beside it: each
// number is a sum along one fixed order, for one row as for many. The forms by instruction set differ in their bits.
#pragma once

#include <cstdint>

namespace rosa::kernels {

enum class RowType { float32, bfloat16 };

// A matrix whose rows lie one behind the other.
struct MatrixRows {
  const void* data;
  RowType type;
  int64_t num_columns;
};

// One token's queries of the heads that share a key/value head, and the keys and values that they see: oldest first, in
// three runs (the first positions of a text, and a ring, which may wrap; a run may be empty). Together at least one.
struct TokenAttention {
  struct Run {
    const void* keys;    // [count, head_dim]
    const void* values;  // [count, head_dim]
    int64_t count;
  };
  const float* query;  // [num_heads, head_dim]
  int64_t num_heads, head_dim;
  Run runs[3];
  RowType type;   // of keys and values
  float scale;    // of the scores
  float* scores;  // room for num_heads * (keys in all)
  float* output;  // [num_heads, head_dim]
};

struct TokenRowFunctions {
  const char* name;
  // For n = first ... last-1: output[m * output_stride + n] = the product of input row m, [num_columns], and row n.
  void (*products)(const float* input, int64_t num_rows, const MatrixRows& matrix, int64_t first, int64_t last,
                   float* output, int64_t output_stride);
  // input / sqrt(mean of squares + epsilon) * weight; output may be input.
  void (*normalize)(const float* input, const float* weight, float epsilon, int64_t size, float* output);
  // silu(gate) * up; output may be gate.
  void (*gated)(const float* gate, const float* up, int64_t size, float* output);
  void (*attend)(const TokenAttention& attention);
};

// All forms that this processor can run, fastest first; "portable" is always the last.
struct TokenRowVariants {
  TokenRowFunctions variants[3];
  int count;
};
TokenRowVariants token_row_variants();

// The first of them.
const TokenRowFunctions& token_rows();

}  // namespace rosa::kernels
