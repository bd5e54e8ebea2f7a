// Vectors of small unsigned integers (lanes_portable.h) for AVX2. Include only in files compiled for it.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace rosa::kernels {

// What bytes and 16-bit lanes share. A mask is a vector of all-ones and zero lanes.
struct Avx2Vector {
  using Vector = __m256i;
  using Mask = __m256i;
  static Vector exclusive_or(Vector a, Vector b) { return _mm256_xor_si256(a, b); }
  static Vector bit_and(Vector a, Vector b) { return _mm256_and_si256(a, b); }
  static Mask both(Mask a, Mask b) { return _mm256_and_si256(a, b); }
  static Vector select(Mask mask, Vector if_set, Vector if_clear) { return _mm256_blendv_epi8(if_clear, if_set, mask); }
  static Vector keep(Mask mask, Vector v) { return _mm256_and_si256(mask, v); }
  static int largest_of_8(__m128i v) {
    const __m128i ones = _mm_set1_epi32(-1);
    return 0xFFFF - (_mm_cvtsi128_si32(_mm_minpos_epu16(_mm_xor_si128(v, ones))) & 0xFFFF);
  }
};

template <class Element>
struct Avx2Lanes;

template <>
struct Avx2Lanes<uint8_t> : Avx2Vector {
  static constexpr int kCount = 32;
  static Vector load(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(uint8_t* to, Vector v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v); }
  static Vector broadcast(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }
  static Vector counting() {
    alignas(32) uint8_t lanes[kCount];
    for (int i = 0; i < kCount; ++i) lanes[i] = static_cast<uint8_t>(i + 1);
    return load(lanes);
  }
  static Vector add(Vector a, Vector b) { return _mm256_add_epi8(a, b); }
  static Vector add_saturated(Vector a, Vector b) { return _mm256_adds_epu8(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm256_sub_epi8(a, b); }
  static Vector smaller(Vector a, Vector b) { return _mm256_min_epu8(a, b); }
  static Vector larger(Vector a, Vector b) { return _mm256_max_epu8(a, b); }
  static Mask equal(Vector a, Vector b) { return _mm256_cmpeq_epi8(a, b); }
  static Mask at_least(Vector a, Vector b) { return equal(larger(a, b), a); }
  static uint64_t bits(Mask mask) { return static_cast<uint32_t>(_mm256_movemask_epi8(mask)); }
  static int largest(Vector v) {
    const __m128i half = _mm_max_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i even = _mm_and_si128(half, _mm_set1_epi16(0xFF));
    return largest_of_8(_mm_max_epu8(even, _mm_srli_epi16(half, 8)));
  }
};

template <>
struct Avx2Lanes<uint16_t> : Avx2Vector {
  static constexpr int kCount = 16;
  static Vector load(const uint16_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
  static void store(uint16_t* to, Vector v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v); }
  static Vector broadcast(int value) { return _mm256_set1_epi16(static_cast<int16_t>(value)); }
  static Vector counting() { return _mm256_setr_epi16(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16); }
  static Vector add(Vector a, Vector b) { return _mm256_add_epi16(a, b); }
  static Vector add_saturated(Vector a, Vector b) { return _mm256_adds_epu16(a, b); }
  static Vector subtract(Vector a, Vector b) { return _mm256_sub_epi16(a, b); }
  static Vector smaller(Vector a, Vector b) { return _mm256_min_epu16(a, b); }
  static Vector larger(Vector a, Vector b) { return _mm256_max_epu16(a, b); }
  static Mask equal(Vector a, Vector b) { return _mm256_cmpeq_epi16(a, b); }
  static Mask at_least(Vector a, Vector b) { return equal(larger(a, b), a); }
  static uint64_t bits(Mask mask) {
    const __m128i packed = _mm_packs_epi16(_mm256_castsi256_si128(mask), _mm256_extracti128_si256(mask, 1));
    return static_cast<uint32_t>(_mm_movemask_epi8(packed));
  }
  static int largest(Vector v) {
    return largest_of_8(_mm_max_epu16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
  }
};

}  // namespace rosa::kernels
