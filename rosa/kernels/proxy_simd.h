// Vectors of the fused proxies on the CPU, and rows reversed in time. Compiled once per instruction set: the including
// file defines ROSA_KERNEL_NAMESPACE and ROSA_KERNEL_LANES. Includes no header with code of its own, so that no
// function compiled for a newer processor can replace another file's copy of it.
//
// Arrays over the distance delta = t - j are contiguous because keys and values are kept reversed in time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "rosa/kernels/proxy_rows.h"

namespace rosa::kernels::ROSA_KERNEL_NAMESPACE {

constexpr int64_t kLanes = ROSA_KERNEL_LANES;
typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

#define ROSA_INLINE static inline __attribute__((always_inline))

ROSA_INLINE Vec load(const float* from) { return *reinterpret_cast<const UnalignedVec*>(from); }
ROSA_INLINE void store(float* to, Vec value) { *reinterpret_cast<UnalignedVec*>(to) = value; }
ROSA_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
ROSA_INLINE int64_t num_vecs(int64_t size) { return (size + kLanes - 1) / kLanes; }

// Combines the lanes by halves: i with i + kCount / 2, and so on.
template <int64_t kCount, class Lanes, class Combine>
ROSA_INLINE float combined(const Lanes& value, const Combine& combine) {
  if constexpr (kCount == 2) {
    return combine(value[0], value[1]);
  } else {
    typedef float Half __attribute__((vector_size(kCount * 2)));
    struct Halves {
      Half low, high;
    };
    const auto halves = __builtin_bit_cast(Halves, value);
    return combined<kCount / 2>(combine(halves.low, halves.high), combine);
  }
}

ROSA_INLINE float sum_of(Vec value) {
  return combined<kLanes>(value, [](auto a, auto b) { return a + b; });
}

ROSA_INLINE float max_of(Vec value) {
  return combined<kLanes>(value, [](auto a, auto b) { return a > b ? a : b; });
}

// exp(x) for x <= 0, to 2 ulp; what is below -87 counts as -87. Range reduction and polynomial of Cephes' expf.
ROSA_INLINE Vec exp_of(Vec x) {
  const Vec lowest = Vec{} - 87.0F;
  x = x > lowest ? x : lowest;
  const float magic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
  const Vec n = (x * 1.44269504F + magic) - magic;
  x = x - n * 0.693359375F;
  x = x + n * 2.12194440e-4F;
  Vec y = x * 1.9875691500e-4F + 1.3981999507e-3F;
  y = y * x + 8.3334519073e-3F;
  y = y * x + 4.1665795894e-2F;
  y = y * x + 1.6666665459e-1F;
  y = y * x + 5.0000001201e-1F;
  y = y * (x * x) + (x + 1.0F);
  const IntVec exponent = (__builtin_convertvector(n, IntVec) + 127) << 23;
  return y * (Vec)exponent;  // the cast keeps the bits
}

// 2^x for |x| <= 120, to 2 ulp: a minimax polynomial of degree 5.
ROSA_INLINE Vec exp2_of(Vec x) {
  const Vec rounded = x + 12582912.0F;  // 1.5 * 2^23: the lowest bits are the integer now
  x = x - (rounded - 12582912.0F);
  Vec y = x * 1.327647217e-3F + 9.675541331e-3F;
  y = y * x + 5.550713273e-2F;
  y = y * x + 2.402211972e-1F;
  y = y * x + 6.931469671e-1F;
  y = y * x + 1.000000072F;
  return (Vec)((IntVec)y + ((IntVec)rounded << 23));  // the casts keep the bits
}

ROSA_INLINE Vec sqrt_of(Vec value) {
  for (int64_t i = 0; i < kLanes; ++i) value[i] = __builtin_sqrtf(value[i]);
  return value;
}

// All ones in the lanes whose index is below `count`.
ROSA_INLINE IntVec lanes_below(int64_t count) {
  IntVec index;
  for (int i = 0; i < kLanes; ++i) index[i] = i;
  const auto bound = static_cast<int32_t>(count < kLanes ? count : kLanes);
  return index < (IntVec{} + bound);
}

// The next `count` values of a workspace.
template <class Value>
ROSA_INLINE Value* take(std::byte*& workspace, int64_t count) {
  Value* taken = reinterpret_cast<Value*>(workspace);
  workspace += workspace_bytes<Value>(count);
  return taken;
}

ROSA_INLINE void zero(float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = 0;
}

// reversed[bit][length - 1 - t] = rows[t][bit]; 0 beyond.
ROSA_INLINE void reverse_rows(const ConstRows& rows, int64_t num_bits, int64_t length, int64_t pitch, float* reversed) {
  zero(reversed, num_bits * pitch);
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t bit = 0; bit < num_bits; ++bit) {
      reversed[bit * pitch + length - 1 - t] = rows.data[t * rows.row_stride + bit];
    }
  }
}

ROSA_INLINE void unreverse_rows(const float* reversed, int64_t num_bits, int64_t length, int64_t pitch,
                                const Rows& rows) {
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t bit = 0; bit < num_bits; ++bit) {
      rows.data[t * rows.row_stride + bit] = reversed[bit * pitch + length - 1 - t];
    }
  }
}

}  // namespace rosa::kernels::ROSA_KERNEL_NAMESPACE
