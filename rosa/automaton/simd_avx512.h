// The vector operations of the batch matcher for AVX-512 (F, BW). Include only in files compiled for it.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace rosa::automaton {

struct Avx512Simd {
  static int32_t common_suffix(const uint8_t* a, const uint8_t* b, int32_t limit) {
    for (int32_t length = 0; length < limit; length += 64) {
      const uint64_t different = unequal(a - 63 - length, b - 63 - length);
      if (different != 0) return std::min(length + std::countl_zero(different), limit);
    }
    return limit;
  }

  static int32_t common_prefix(const uint8_t* a, const uint8_t* b, int32_t limit) {
    for (int32_t length = 0; length < limit; length += 64) {
      const uint64_t different = unequal(a + length, b + length);
      if (different != 0) return std::min(length + std::countr_zero(different), limit);
    }
    return limit;
  }

  static void write_16_ascending(int32_t* out, int32_t first) {
    const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_set1_epi32(first), steps));
  }

  static int32_t max_of_16(const int32_t* values, int32_t begin, int32_t end) {
    const auto mask = static_cast<__mmask16>(((1u << end) - 1) & ~((1u << begin) - 1));
    const __m512i chosen = _mm512_mask_loadu_epi32(_mm512_set1_epi32(-1), mask, values);
    return _mm512_reduce_max_epi32(chosen);
  }

 private:
  static uint64_t unequal(const uint8_t* a, const uint8_t* b) {
    return _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(a), _mm512_loadu_si512(b));
  }
};

}  // namespace rosa::automaton
