// Symbols: rows of bits packed into integers, as tensors. uint8 up to 8 bits, int64 (as 63 unsigned bits) above.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace rosa {

constexpr int64_t kMaxSymbolBits = 63;

// logits [..3 dims.., D] floating point, any strides -> symbols [..3 dims..] contiguous on the same device:
// sum over j of [logit_j > 0] << j. Zero and NaN give bit 0. Throws ArgumentError for D outside 1 ... 63.
at::Tensor pack_symbols(const at::Tensor& logits);

// symbols [B,H,T] -> their bits as 0 or 1, [B,H,T,num_bits], a transposed view of a contiguous [B,T,H,num_bits] (so
// that merging heads copies nothing).
at::Tensor unpack_symbols(const at::Tensor& symbols, int64_t num_bits, at::ScalarType dtype);

// soft + alpha (bits of the symbols - soft), laid out as unpack_symbols does. symbols [B,H,T]; soft [B,H,T,M], float32
// or float64, any strides.
at::Tensor blend_symbols(const at::Tensor& symbols, const at::Tensor& soft, double alpha);

}  // namespace rosa
