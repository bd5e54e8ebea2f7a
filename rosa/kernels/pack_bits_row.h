// What one thread does to its rows of bits, on the CPU and on a GPU: the bodies of pack_bits, unpack_bits and the
// blend.
#pragma once

#include <cstdint>

#include "rosa/kernels/host_device.h"
#include "rosa/kernels/pack_bits.h"

namespace rosa::kernels {

ROSA_HOST_DEVICE int64_t num_rows(const LogitLayout& layout) {
  return layout.outer_size * layout.middle_size * layout.inner_size;
}

// Where row `row` (in the order outer, middle, inner) begins in the array.
ROSA_HOST_DEVICE int64_t row_offset(const LogitLayout& layout, int64_t row) {
  const int64_t inner = row % layout.inner_size;
  const int64_t middle = row / layout.inner_size % layout.middle_size;
  const int64_t outer = row / layout.inner_size / layout.middle_size;
  return outer * layout.outer_stride + middle * layout.middle_stride + inner * layout.inner_stride;
}

// The symbol of one row of logits.
template <class Logit>
ROSA_HOST_DEVICE uint64_t pack_row(const Logit* logits, int64_t num_bits, int64_t bit_stride) {
  uint64_t symbol = 0;
  for (int64_t bit = 0; bit < num_bits; ++bit) {
    // The comparison is false for NaN.
    symbol |= static_cast<uint64_t>(logits[bit * bit_stride] > Logit{0}) << bit;
  }
  return symbol;
}

// The bits of one symbol, as 0 or 1.
template <class Value>
ROSA_HOST_DEVICE void unpack_row(uint64_t symbol, Value* bits, int64_t num_bits, int64_t bit_stride) {
  for (int64_t bit = 0; bit < num_bits; ++bit) bits[bit * bit_stride] = static_cast<Value>((symbol >> bit) & 1U);
}

// The bits of one symbol blended with a soft row: soft + alpha (bit - soft), every product and sum rounded.
template <class Value>
ROSA_HOST_DEVICE void blend_row(uint64_t symbol, const Value* soft, int64_t soft_bit_stride, Value alpha, Value* bits,
                                int64_t num_bits, int64_t bit_stride) {
  for (int64_t bit = 0; bit < num_bits; ++bit) {
    const Value hard = static_cast<Value>((symbol >> bit) & 1U);
    const Value soft_bit = soft[bit * soft_bit_stride];
    bits[bit * bit_stride] = (hard - soft_bit) * alpha + soft_bit;
  }
}

// What one thread of a grid does: the rows first, first + step, ... of the whole array.
template <class Logit, class Symbol>
ROSA_HOST_DEVICE void pack_rows(int64_t first, int64_t step, const Logit* logits, const LogitLayout& layout,
                                Symbol* symbols) {
  for (int64_t row = first; row < num_rows(layout); row += step) {
    symbols[row] = static_cast<Symbol>(pack_row(logits + row_offset(layout, row), layout.num_bits, layout.bit_stride));
  }
}

template <class Symbol, class Value>
ROSA_HOST_DEVICE void unpack_rows(int64_t first, int64_t step, const Symbol* symbols, const LogitLayout& layout,
                                  Value* bits) {
  for (int64_t row = first; row < num_rows(layout); row += step) {
    unpack_row(static_cast<uint64_t>(symbols[row]), bits + row_offset(layout, row), layout.num_bits, layout.bit_stride);
  }
}

template <class Symbol, class Value>
ROSA_HOST_DEVICE void blend_rows(int64_t first, int64_t step, const Symbol* symbols, const LogitLayout& soft_layout,
                                 const Value* soft, Value alpha, const LogitLayout& layout, Value* bits) {
  for (int64_t row = first; row < num_rows(layout); row += step) {
    blend_row(static_cast<uint64_t>(symbols[row]), soft + row_offset(soft_layout, row), soft_layout.bit_stride, alpha,
              bits + row_offset(layout, row), layout.num_bits, layout.bit_stride);
  }
}

}  // namespace rosa::kernels
