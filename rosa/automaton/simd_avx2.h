// The vector operations of the batch matcher for AVX2. Include only in files compiled for it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace rosa::automaton {

struct Avx2Simd {
  static int32_t common_suffix(const uint8_t* a, const uint8_t* b, int32_t limit) {
    for (int32_t length = 0; length < limit; length += 32) {
      const uint32_t different = unequal(a - 31 - length, b - 31 - length);
      if (different != 0) return std::min(length + std::countl_zero(different), limit);
    }
    return limit;
  }

  static int32_t common_prefix(const uint8_t* a, const uint8_t* b, int32_t limit) {
    for (int32_t length = 0; length < limit; length += 32) {
      const uint32_t different = unequal(a + length, b + length);
      if (different != 0) return std::min(length + std::countr_zero(different), limit);
    }
    return limit;
  }

  static void write_16_ascending(int32_t* out, int32_t first) {
    const __m256i low = _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), low);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 8), _mm256_add_epi32(low, _mm256_set1_epi32(8)));
  }

  static int32_t max_of_16(const int32_t* values, int32_t begin, int32_t end) {
    const __m256i low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
    return horizontal_max(_mm256_max_epi32(masked(values, low, begin, end), masked(values + 8, high, begin, end)));
  }

 private:
  static uint32_t unequal(const uint8_t* a, const uint8_t* b) {
    const __m256i equal = _mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)),
                                            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)));
    return ~static_cast<uint32_t>(_mm256_movemask_epi8(equal));
  }

  // Returns the values whose index is in [begin, end), and -1 elsewhere.
  static __m256i masked(const int32_t* values, __m256i index, int32_t begin, int32_t end) {
    const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(begin), index);
    const __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(end), index);
    const __m256i loaded = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
    return _mm256_or_si256(_mm256_or_si256(loaded, below), _mm256_xor_si256(inside, _mm256_set1_epi32(-1)));
  }

  static int32_t horizontal_max(__m256i values) {
    __m128i max = _mm_max_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
    max = _mm_max_epi32(max, _mm_shuffle_epi32(max, _MM_SHUFFLE(1, 0, 3, 2)));
    max = _mm_max_epi32(max, _mm_shuffle_epi32(max, _MM_SHUFFLE(2, 3, 0, 1)));
    return _mm_cvtsi128_si32(max);
  }
};

}  // namespace rosa::automaton
