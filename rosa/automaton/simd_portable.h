// The vector operations of the batch matcher in plain C++. simd_avx2.h and simd_avx512.h have the same for their CPUs.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

namespace rosa::automaton {

struct PortableSimd {
  // Returns how many symbols before and including *a and *b are equal, at most `limit`. Reads blocks of up to 64 bytes.
  static int32_t common_suffix(const uint8_t* a, const uint8_t* b, int32_t limit) {
    for (int32_t length = 0; length < limit; length += 8) {
      const uint64_t difference = load(a - 7 - length) ^ load(b - 7 - length);
      if (difference != 0) return std::min(length + std::countl_zero(difference) / 8, limit);
    }
    return limit;
  }

  // Returns how many symbols from *a and *b on are equal, at most `limit`. Reads blocks of up to 64 bytes.
  static int32_t common_prefix(const uint8_t* a, const uint8_t* b, int32_t limit) {
    for (int32_t length = 0; length < limit; length += 8) {
      const uint64_t difference = load(a + length) ^ load(b + length);
      if (difference != 0) return std::min(length + std::countr_zero(difference) / 8, limit);
    }
    return limit;
  }

  // Writes first, first + 1, ... to 16 places.
  static void write_16_ascending(int32_t* out, int32_t first) {
    for (int32_t i = 0; i < 16; ++i) out[i] = first + i;
  }

  // Returns the maximum of -1 and values[begin ... end - 1], where 0 <= begin <= end <= 16.
  static int32_t max_of_16(const int32_t* values, int32_t begin, int32_t end) {
    int32_t result = -1;
    for (int32_t i = begin; i < end; ++i) result = std::max(result, values[i]);
    return result;
  }

 private:
  // Little-endian, so that the highest byte is the last symbol.
  static uint64_t load(const uint8_t* bytes) {
    uint64_t value;
    std::memcpy(&value, bytes, sizeof(value));
    static_assert(std::endian::native == std::endian::little);
    return value;
  }
};

}  // namespace rosa::automaton
