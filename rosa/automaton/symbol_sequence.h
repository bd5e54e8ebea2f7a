// SymbolSequence: a growing sequence of symbols of up to 64 bits, which takes one byte each while they fit one. Once a
// symbol has not, each takes 8 bytes for good, also where that one is taken back.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/growing_array.h"

namespace rosa::automaton {

class SymbolSequence {
 public:
  int32_t size() const { return static_cast<int32_t>(is_wide_ ? words_.size() : bytes_.size()); }
  uint64_t operator[](int32_t i) const { return is_wide_ ? words_[i] : bytes_[i]; }
  // The number of bits that hold every symbol, at least 1. Symbols that were taken back do not count.
  int32_t num_bits() const { return static_cast<int32_t>(std::bit_width(mask_)); }
  size_t num_bytes() const { return bytes_.num_bytes() + words_.num_bytes() + widenings_.num_bytes(); }

  void push_back(uint64_t symbol) {
    if ((symbol & ~mask_) != 0) widen(symbol);
    if (is_wide_) {
      words_.push_back(symbol);
    } else {
      bytes_.push_back(static_cast<uint8_t>(symbol));
    }
  }

  void truncate(int32_t size) {
    is_wide_ ? words_.truncate(size) : bytes_.truncate(size);
    for (; !widenings_.empty() && widenings_.back().position >= size; widenings_.truncate(widenings_.size() - 1)) {
      mask_ = widenings_.back().mask_before;
    }
  }

  // Returns how many symbols up to and including those at `a` and at `b` are equal, at most `limit`, which is at most
  // min(a, b) + 1.
  int32_t common_suffix(int32_t a, int32_t b, int32_t limit) const {
    int32_t length = 0;
    if (!is_wide_) {
      constexpr int32_t kWord = sizeof(uint64_t);
      for (; length + kWord <= limit; length += kWord) {
        const uint64_t difference = word_before(a - length) ^ word_before(b - length);
        if (difference != 0) return length + std::countl_zero(difference) / 8;
      }
    }
    while (length < limit && (*this)[a - length] == (*this)[b - length]) ++length;
    return length;
  }

  // Returns the last symbols up to and including that at `position`, as many as fit 64 bits at `bits` (1, 2, 4 or 8)
  // each: the latest in the highest bits, 0 before the beginning. Those up to `position` must fit `bits`.
  uint64_t context(int32_t position, int32_t bits) const {
    uint64_t context = 0;
    int32_t filled = 0;
    for (; !is_wide_ && filled < 64 && position >= 7; position -= 8, filled += 8 * bits) {
      context |= packed(word_before(position), bits) << (64 - 8 * bits) >> filled;
    }
    for (; filled < 64 && position >= 0; --position, filled += bits) {
      context |= (*this)[position] << (64 - bits) >> filled;
    }
    return context;
  }

 private:
  // Brings 8 bytes of `bits` bits each together, in the lowest bits.
  static uint64_t packed(uint64_t word, int32_t bits) {
    if (bits == 8) return word;
    word = (word | word >> (8 - bits)) & (uint64_t{0x0001000100010001} * ((1u << (2 * bits)) - 1));
    word = (word | word >> (16 - 2 * bits)) & (uint64_t{0x0000000100000001} * ((1u << (4 * bits)) - 1));
    return (word | word >> (32 - 4 * bits)) & ((uint64_t{1} << (8 * bits)) - 1);
  }

  static_assert(std::endian::native == std::endian::little);  // the highest byte is the last symbol

  uint64_t word_before(int32_t position) const {
    uint64_t word;
    std::memcpy(&word, bytes_.data() + position + 1 - sizeof(word), sizeof(word));
    return word;
  }

  // Takes note of a symbol of more bits than those before it, which comes next.
  void widen(uint64_t symbol) {
    widenings_.push_back({size(), mask_});
    mask_ = ~uint64_t{0} >> std::countl_zero(symbol);
    if (is_wide_ || symbol <= UINT8_MAX) return;
    words_.reserve(bytes_.size() + 1);
    for (size_t i = 0; i < bytes_.size(); ++i) words_.push_back(bytes_[i]);
    bytes_ = {};
    is_wide_ = true;
  }

  // Where the symbols have got more bits: at most 63 times.
  struct Widening {
    int32_t position;
    uint64_t mask_before;
  };

  bool is_wide_ = false;
  uint64_t mask_ = 1;  // the bits that symbols may have
  GrowingArray<Widening> widenings_;
  GrowingArray<uint8_t> bytes_;
  GrowingArray<uint64_t> words_;
};

}  // namespace rosa::automaton
