// What the parts of a TokenStep share: products of a few rows with matrices, cut into the threads' shares so that a
// result does not depend on them.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <span>

#include "rosa/kernels/token_rows.h"

namespace rosa::models {

// Multiplications for which another thread is worth waking.
inline constexpr int64_t kMinShare = int64_t{1} << 17;

inline kernels::RowType row_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat ? kernels::RowType::float32 : kernels::RowType::bfloat16;
}

// input [n, columns] times the transposed matrix -> output [n, rows].
struct Product {
  const at::Tensor* matrix;
  float* output;
  int64_t stride = 0;  // from one row of the output to the next; 0: the matrix's rows
};

// Several matrices that take the same input, the threads' work being cut across all of them.
void multiply(const float* input, int64_t num_inputs, std::span<const Product> products);

inline void add(float* to, const float* from, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] += from[i];
}

// Numbers that nobody has set yet.
inline std::unique_ptr<float[]> numbers(int64_t count) { return std::unique_ptr<float[]>(new float[count]); }

}  // namespace rosa::models
