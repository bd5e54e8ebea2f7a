// Bits of logits to symbols and back, on host memory: raw pointers and strides, no LibTorch.
#pragma once

#include <cstdint>

namespace rosa::kernels {

// Rows of `num_bits` logits in an array [outer][middle][inner][bit]; strides in elements.
struct LogitLayout {
  int64_t outer_size = 1, middle_size = 1, inner_size = 1, num_bits = 1;
  int64_t outer_stride = 0, middle_stride = 0, inner_stride = 0, bit_stride = 1;
};

// symbols[row] = sum over j of [logits[row][j] > 0] << j, rows contiguous in the order outer, middle, inner.
// Zero and NaN give bit 0. Logit: float or double. Symbol: uint8_t (num_bits <= 8) or int64_t (num_bits <= 63).
template <class Logit, class Symbol>
void pack_bits(const Logit* logits, const LogitLayout& layout, Symbol* symbols);

// bits[row][j] = bit j of symbols[row] as 0 or 1; `layout` describes `bits`. Value: float or double.
template <class Symbol, class Value>
void unpack_bits(const Symbol* symbols, const LogitLayout& layout, Value* bits);

}  // namespace rosa::kernels
