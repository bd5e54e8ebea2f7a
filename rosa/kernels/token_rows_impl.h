// The bodies of token_rows.h. Compiled once per instruction set, as proxy_simd.h says.
#pragma once

#include "rosa/kernels/proxy_simd.h"
#include "rosa/kernels/token_rows.h"

namespace rosa::kernels::ROSA_KERNEL_NAMESPACE {

typedef uint16_t ShortVec __attribute__((vector_size(kLanes * 2), aligned(2), may_alias));
typedef uint32_t WordVec __attribute__((vector_size(kLanes * 4)));

// Registers decide how many rows are worked on at once; no result depends on it.
constexpr int64_t kInputBlock = kLanes == 16 ? 4 : 2;
constexpr int64_t kMatrixBlock = 4;
constexpr int64_t kLoneMatrixBlock = 8;

ROSA_INLINE Vec load_row(const float* from) { return load(from); }
ROSA_INLINE Vec load_row(const uint16_t* from) {
  const ShortVec halves = *reinterpret_cast<const ShortVec*>(from);
  return (Vec)(__builtin_convertvector(halves, WordVec) << 16);  // the cast keeps the bits
}
template <class Element>
ROSA_INLINE Vec load_tail(const Element* from, int64_t count) {
  Element padded[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = from[i];
  return load_row(padded);
}

template <int64_t kInputs, int64_t kRows, class Element>
ROSA_INLINE void product_block(const float* input, const Element* matrix, int64_t size, float* output,
                               int64_t output_stride) {
  Vec sums[kInputs][kRows] = {};
  int64_t i = 0;
  const auto add = [&](const auto& load_input, const auto& load_matrix) {
    Vec rows[kRows];
    for (int64_t n = 0; n < kRows; ++n) rows[n] = load_matrix(matrix + n * size + i);
    for (int64_t m = 0; m < kInputs; ++m) {
      const Vec x = load_input(input + m * size + i);
      for (int64_t n = 0; n < kRows; ++n) sums[m][n] += x * rows[n];
    }
  };
  for (; i + kLanes <= size; i += kLanes) {
    add(
        [](const float* from) __attribute__((always_inline)) { return load_row(from); },
        [](const Element* from) __attribute__((always_inline)) { return load_row(from); });
  }
  if (i < size) {
    add(
        [&](const float* from) __attribute__((always_inline)) { return load_tail(from, size - i); },
        [&](const Element* from) __attribute__((always_inline)) { return load_tail(from, size - i); });
  }
  for (int64_t m = 0; m < kInputs; ++m) {
    for (int64_t n = 0; n < kRows; ++n) output[m * output_stride + n] = sum_of(sums[m][n]);
  }
}

template <int64_t kRows, class Element>
ROSA_INLINE void product_inputs(const float* input, int64_t num_rows, const Element* matrix, int64_t size,
                                float* output, int64_t output_stride) {
  int64_t m = 0;
  for (; m + kInputBlock <= num_rows; m += kInputBlock) {
    product_block<kInputBlock, kRows>(input + m * size, matrix, size, output + m * output_stride, output_stride);
  }
  for (; m < num_rows; ++m) {
    product_block<1, kRows>(input + m * size, matrix, size, output + m * output_stride, output_stride);
  }
}

template <class Element>
ROSA_INLINE void typed_products(const float* input, int64_t num_rows, const Element* matrix, int64_t size,
                                int64_t first, int64_t last, float* output, int64_t output_stride) {
  int64_t n = first;
  if (num_rows == 1) {
    for (; n + kLoneMatrixBlock <= last; n += kLoneMatrixBlock) {
      product_block<1, kLoneMatrixBlock>(input, matrix + n * size, size, output + n, output_stride);
    }
  }
  for (; n + kMatrixBlock <= last; n += kMatrixBlock) {
    product_inputs<kMatrixBlock>(input, num_rows, matrix + n * size, size, output + n, output_stride);
  }
  for (; n < last; ++n) product_inputs<1>(input, num_rows, matrix + n * size, size, output + n, output_stride);
}

void products(const float* input, int64_t num_rows, const MatrixRows& matrix, int64_t first, int64_t last,
              float* output, int64_t output_stride) {
  if (matrix.type == RowType::float32) {
    typed_products(input, num_rows, static_cast<const float*>(matrix.data), matrix.num_columns, first, last, output,
                   output_stride);
  } else {
    typed_products(input, num_rows, static_cast<const uint16_t*>(matrix.data), matrix.num_columns, first, last, output,
                   output_stride);
  }
}

void normalize(const float* input, const float* weight, float epsilon, int64_t size, float* output) {
  Vec sums = {};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) sums += load(input + i) * load(input + i);
  if (i < size) {
    const Vec rest = load_tail(input + i, size - i);
    sums += rest * rest;
  }
  const float inverse = 1.0F / __builtin_sqrtf(sum_of(sums) / static_cast<float>(size) + epsilon);
  for (i = 0; i + kLanes <= size; i += kLanes) store(output + i, load(input + i) * inverse * load(weight + i));
  for (; i < size; ++i) output[i] = input[i] * inverse * weight[i];
}

// x / (1 + exp(-x)) by the exponential of what is not positive.
ROSA_INLINE Vec silu(Vec x) {
  const Vec e = exp_of(x > 0.0F ? -x : x);
  return x * (x > 0.0F ? Vec{} + 1.0F : e) / (e + 1.0F);
}

void gated(const float* gate, const float* up, int64_t size, float* output) {
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) store(output + i, silu(load(gate + i)) * load(up + i));
  if (i == size) return;
  const Vec rest = silu(load_tail(gate + i, size - i)) * load_tail(up + i, size - i);
  for (int64_t lane = 0; i < size; ++lane, ++i) output[i] = rest[lane];
}

// The scores become their exponentials, over their greatest one; returns the sum of these.
ROSA_INLINE float exponentials(float* scores, int64_t count, float scale) {
  float greatest = scores[0];
  for (int64_t i = 1; i < count; ++i) greatest = scores[i] > greatest ? scores[i] : greatest;
  Vec sums = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Vec e = exp_of((load(scores + i) - greatest) * scale);
    store(scores + i, e);
    sums += e;
  }
  if (i < count) {
    const Vec e = exp_of((load_tail(scores + i, count - i) - greatest) * scale);
    float rest[kLanes] = {};
    for (int64_t lane = 0; i < count; ++lane, ++i) rest[lane] = scores[i] = e[lane];
    sums += load(rest);
  }
  return sum_of(sums);
}

// output[h][0 .. kVecs * kLanes) for one head: the values' sum along the keys, oldest first.
template <int64_t kVecs, class Element>
ROSA_INLINE void weighted_values(const TokenAttention& a, const float* scores, int64_t column, float inverse,
                                 float* output) {
  Vec sums[kVecs] = {};
  for (const TokenAttention::Run& run : a.runs) {
    const Element* values = static_cast<const Element*>(run.values) + column;
    for (int64_t j = 0; j < run.count; ++j) {
      const float score = scores[j];
      for (int64_t v = 0; v < kVecs; ++v) sums[v] += load_row(values + j * a.head_dim + v * kLanes) * score;
    }
    scores += run.count;
  }
  for (int64_t v = 0; v < kVecs; ++v) store(output + column + v * kLanes, sums[v] * inverse);
}

// The last columns, fewer than kLanes. In whole vectors too: of a loop over single numbers the compiler rounds some
// products, and others not, by the length of the run.
template <class Element>
ROSA_INLINE void weighted_tail(const TokenAttention& a, const float* scores, int64_t column, float inverse,
                               float* output) {
  const int64_t size = a.head_dim - column;
  Vec sums = {};
  for (const TokenAttention::Run& run : a.runs) {
    const Element* values = static_cast<const Element*>(run.values) + column;
    for (int64_t j = 0; j < run.count; ++j) sums += load_tail(values + j * a.head_dim, size) * scores[j];
    scores += run.count;
  }
  sums = sums * inverse;
  for (int64_t lane = 0; lane < size; ++lane) output[column + lane] = sums[lane];
}

template <class Element>
ROSA_INLINE void typed_attend(const TokenAttention& a) {
  int64_t count = 0;
  for (const TokenAttention::Run& run : a.runs) count += run.count;
  int64_t first = 0;
  for (const TokenAttention::Run& run : a.runs) {
    typed_products(a.query, a.num_heads, static_cast<const Element*>(run.keys), a.head_dim, 0, run.count,
                   a.scores + first, count);
    first += run.count;
  }
  for (int64_t head = 0; head < a.num_heads; ++head) {
    float* scores = a.scores + head * count;
    float* output = a.output + head * a.head_dim;
    const float inverse = 1.0F / exponentials(scores, count, a.scale);
    int64_t column = 0;
    for (; column + 8 * kLanes <= a.head_dim; column += 8 * kLanes) {
      weighted_values<8, Element>(a, scores, column, inverse, output);
    }
    for (; column + kLanes <= a.head_dim; column += kLanes) {
      weighted_values<1, Element>(a, scores, column, inverse, output);
    }
    if (column < a.head_dim) weighted_tail<Element>(a, scores, column, inverse, output);
  }
}

void attend(const TokenAttention& attention) {
  attention.type == RowType::float32 ? typed_attend<float>(attention) : typed_attend<uint16_t>(attention);
}

}  // namespace rosa::kernels::ROSA_KERNEL_NAMESPACE
