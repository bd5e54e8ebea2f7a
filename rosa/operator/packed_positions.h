// Symbols of one bit, eight positions a byte: the form in which they cross between device and host. As tensor
// operations on any device; the matcher reads and writes the same form (automaton::PositionStorage::bits).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace rosa {

inline int64_t num_packed_bytes(int64_t length) { return (length + 7) / 8; }

// symbols [B,H,T], 0 or 1 -> packed uint8 [B,H,ceil(T/8)]: bit t % 8 of byte t / 8; the rest is 0.
void pack_positions(const at::Tensor& symbols, at::Tensor& packed);
// The reverse: into bool, uint8 or int64 [B,H,T].
void unpack_positions(const at::Tensor& packed, at::Tensor& symbols);

}  // namespace rosa
