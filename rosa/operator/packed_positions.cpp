#include "rosa/operator/packed_positions.h"

namespace rosa {
namespace {

at::Tensor bit_numbers(const at::Tensor& like) { return at::arange(8, like.options().dtype(at::kByte)); }

}  // namespace

void pack_positions(const at::Tensor& symbols, at::Tensor& packed) {
  const int64_t num_bytes = packed.size(2);
  const at::Tensor padded = at::constant_pad_nd(symbols.to(at::kByte), {0, 8 * num_bytes - symbols.size(2)});
  const at::Tensor bits = padded.view({symbols.size(0), symbols.size(1), num_bytes, 8});
  packed.copy_(at::bitwise_left_shift(bits, bit_numbers(symbols)).sum({3}, /*keepdim=*/false, at::kByte));
}

void unpack_positions(const at::Tensor& packed, at::Tensor& symbols) {
  const at::Tensor bits = at::bitwise_right_shift(packed.unsqueeze(3), bit_numbers(packed)).bitwise_and(1);
  symbols.copy_(bits.flatten(2).narrow(2, 0, symbols.size(2)));
}

}  // namespace rosa
