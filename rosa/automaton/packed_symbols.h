// Byte symbols of 1, 2 or 4 bits, packed, so that the last symbols before a position come with one load.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

static_assert(std::endian::native == std::endian::little);

// A context holds at least this many bits.
inline constexpr int32_t kMaxContextBits = 57;
inline constexpr size_t kPackedPadding = 8;

inline size_t packed_workspace(int32_t size, int32_t bits) {
  return bits == 8 ? 0 : (static_cast<size_t>(size) * bits + 7) / 8 + 2 * kPackedPadding + 2 * Workspace::kAlignment;
}

// Returns the symbols, the first in the lowest bits, with kPackedPadding zero bytes before them. Symbols of 8 bits are
// their own packed form; those must have zero padding too. 7 bytes after the symbols are read.
template <class Simd>
const uint8_t* pack_symbols(const uint8_t* symbols, int32_t size, int32_t bits, Workspace& workspace) {
  if (bits == 8) return symbols;
  auto* packed = workspace.take_items<uint8_t>(packed_workspace(size, bits) - 2 * Workspace::kAlignment);
  std::memset(packed, 0, kPackedPadding);
  uint8_t* out = packed + kPackedPadding;
  for (int32_t i = 0; i < size; i += 8) {
    uint64_t word;
    std::memcpy(&word, symbols + i, sizeof(word));
    // Halves the distance of neighbours until they touch.
    word = (word | word >> (8 - bits)) & 0x00FF00FF00FF00FFu;
    word = (word | word >> (16 - 2 * bits)) & 0x0000FFFF0000FFFFu;
    word |= word >> (32 - 4 * bits);
    const auto eight = static_cast<uint32_t>(word);
    std::memcpy(out, &eight, sizeof(eight));
    out += bits;
  }
  return packed + kPackedPadding;
}

// Returns the symbols up to and including `position`: the last in the highest bits, zeros where there are none.
inline uint64_t context_before(const uint8_t* packed, int32_t position, int32_t bits) {
  const int64_t end_bit = (static_cast<int64_t>(position) + 1) * bits;
  const int64_t end_byte = (end_bit + 7) >> 3;
  uint64_t context;
  std::memcpy(&context, packed + end_byte - 8, sizeof(context));
  return context << (end_byte * 8 - end_bit);
}

}  // namespace rosa::automaton
