// Vectors of small unsigned integers (lanes_portable.h) for AVX-512. Include only in files compiled for it.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace rosa::kernels {

template <class Element>
struct Avx512Lanes;

// The largest of 8 unsigned 16-bit lanes.
inline int largest_of_8(__m128i v) {
  const __m128i ones = _mm_set1_epi32(-1);
  return 0xFFFF - (_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(v, ones))) & 0xFFFF);
}

// The largest of 16 unsigned bytes: odd bytes are brought beside the even ones.
inline int largest_of_16(__m128i v) {
  const __m128i even = _mm_and_si128(v, _mm_set1_epi16(0xFF));
  return largest_of_8(_mm_max_epu8(even, _mm_srli_epi16(v, 8)));
}

template <>
struct Avx512Lanes<uint8_t> {
  static constexpr int kCount = 64;
  using Vector = __m512i;
  using Mask = __mmask64;
  static Vector load(const uint8_t* from) { return _mm512_loadu_si512(from); }
  static void store(uint8_t* to, Vector v) { _mm512_storeu_si512(to, v); }
  static Vector broadcast(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
  static Vector counting() {
    alignas(64) uint8_t lanes[kCount];
    for (int i = 0; i < kCount; ++i) lanes[i] = static_cast<uint8_t>(i + 1);
    return _mm512_load_si512(lanes);
  }
  static Vector add(Vector a, Vector b) { return _mm512_add_epi8(a, b); }
  static Vector add_saturated(Vector a, Vector b) { return _mm512_adds_epu8(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm512_sub_epi8(a, b); }
  static Vector exclusive_or(Vector a, Vector b) { return _mm512_xor_si512(a, b); }
  static Vector bit_and(Vector a, Vector b) { return _mm512_and_si512(a, b); }
  static Vector smaller(Vector a, Vector b) { return _mm512_min_epu8(a, b); }
  static Vector larger(Vector a, Vector b) { return _mm512_max_epu8(a, b); }
  static Mask equal(Vector a, Vector b) { return _mm512_cmpeq_epu8_mask(a, b); }
  static Mask at_least(Vector a, Vector b) { return _mm512_cmpge_epu8_mask(a, b); }
  static Mask both(Mask a, Mask b) { return a & b; }
  static Vector select(Mask mask, Vector if_set, Vector if_clear) {
    return _mm512_mask_blend_epi8(mask, if_clear, if_set);
  }
  static Vector keep(Mask mask, Vector v) { return _mm512_maskz_mov_epi8(mask, v); }
  static uint64_t bits(Mask mask) { return mask; }
  static int largest(Vector v) {
    const __m256i half = _mm256_max_epu8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return largest_of_16(_mm_max_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
  }
};

template <>
struct Avx512Lanes<uint16_t> {
  static constexpr int kCount = 32;
  using Vector = __m512i;
  using Mask = __mmask32;
  static Vector load(const uint16_t* from) { return _mm512_loadu_si512(from); }
  static void store(uint16_t* to, Vector v) { _mm512_storeu_si512(to, v); }
  static Vector broadcast(int value) { return _mm512_set1_epi16(static_cast<int16_t>(value)); }
  static Vector counting() {
    alignas(64) uint16_t lanes[kCount];
    for (int i = 0; i < kCount; ++i) lanes[i] = static_cast<uint16_t>(i + 1);
    return _mm512_load_si512(lanes);
  }
  static Vector add(Vector a, Vector b) { return _mm512_add_epi16(a, b); }
  static Vector add_saturated(Vector a, Vector b) { return _mm512_adds_epu16(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm512_sub_epi16(a, b); }
  static Vector exclusive_or(Vector a, Vector b) { return _mm512_xor_si512(a, b); }
  static Vector bit_and(Vector a, Vector b) { return _mm512_and_si512(a, b); }
  static Vector smaller(Vector a, Vector b) { return _mm512_min_epu16(a, b); }
  static Vector larger(Vector a, Vector b) { return _mm512_max_epu16(a, b); }
  static Mask equal(Vector a, Vector b) { return _mm512_cmpeq_epu16_mask(a, b); }
  static Mask at_least(Vector a, Vector b) { return _mm512_cmpge_epu16_mask(a, b); }
  static Mask both(Mask a, Mask b) { return a & b; }
  static Vector select(Mask mask, Vector if_set, Vector if_clear) {
    return _mm512_mask_blend_epi16(mask, if_clear, if_set);
  }
  static Vector keep(Mask mask, Vector v) { return _mm512_maskz_mov_epi16(mask, v); }
  static uint64_t bits(Mask mask) { return mask; }
  static int largest(Vector v) {
    const __m256i half = _mm256_max_epu16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return largest_of_8(_mm_max_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
  }
};

}  // namespace rosa::kernels
