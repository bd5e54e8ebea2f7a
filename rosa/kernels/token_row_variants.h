// The forms of token_rows.h by instruction set; token_rows.cpp picks one at run time.
#pragma once

#include "rosa/kernels/token_rows.h"

namespace rosa::kernels {

#define ROSA_DECLARE_TOKEN_ROWS(name)                                                                        \
  namespace name {                                                                                           \
  void products(const float* input, int64_t num_rows, const MatrixRows& matrix, int64_t first, int64_t last, \
                float* output, int64_t output_stride);                                                       \
  void normalize(const float* input, const float* weight, float epsilon, int64_t size, float* output);       \
  void gated(const float* gate, const float* up, int64_t size, float* output);                               \
  void attend(const TokenAttention& attention);                                                              \
  }
ROSA_DECLARE_TOKEN_ROWS(avx512)
ROSA_DECLARE_TOKEN_ROWS(avx2)
ROSA_DECLARE_TOKEN_ROWS(portable)
#undef ROSA_DECLARE_TOKEN_ROWS

#define ROSA_TOKEN_ROWS(name) \
  { #name, name::products, name::normalize, name::gated, name::attend }

}  // namespace rosa::kernels
