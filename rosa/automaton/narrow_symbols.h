// Narrow symbols: byte symbols that match as wider ones do, for the code that knows bytes only; and the documents of a
// sequence.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "rosa/automaton/byte_matching.h"
#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

// What the tables of byte symbols can number: the most symbols of a document.
inline constexpr int32_t kMaxByteDocument = (int32_t{1} << 21) - 2;

// Calls visit(first, end) for each document.
template <class Visit>
void for_each_document(size_t size, std::span<const int32_t> document_starts, const Visit& visit) {
  if (document_starts.empty()) return visit(size_t{0}, size);
  for (size_t i = 0; i < document_starts.size(); ++i) {
    const size_t end = i + 1 < document_starts.size() ? document_starts[i + 1] : size;
    visit(static_cast<size_t>(document_starts[i]), end);
  }
}

// Takes room for `size` bytes with kPadding zeros before and after.
inline size_t padded_workspace(size_t size) { return size + 2 * kPadding + Workspace::kAlignment; }
inline uint8_t* take_padded(size_t size, Workspace& workspace) {
  uint8_t* padded = workspace.take_items<uint8_t>(size + 2 * kPadding);
  std::memset(padded, 0, kPadding);
  std::memset(padded + kPadding + size, 0, kPadding);
  return padded + kPadding;
}

// The smallest number of bits, of those the byte matcher knows, that holds every symbol.
inline int32_t bits_of(const uint8_t* query, const uint8_t* key, int32_t size) {
  unsigned all = 0;
  for (int32_t i = 0; i < size; ++i) all |= static_cast<unsigned>(query[i] | key[i]);
  return all < 2 ? 1 : all < 4 ? 2 : all < 16 ? 4 : 8;
}

// Numbers the different keys, in an open-addressing table, up to 255 of them.
class KeyNumbers {
 public:
  static constexpr int32_t kMaxKeys = 255;  // one number is left for queries that are no key

  // Returns the number of a key, which is new or not; kMaxKeys where there are too many.
  int32_t add(uint64_t key) {
    const uint32_t slot = find(key);
    if (numbers_[slot] == kFree && num_keys_ < kMaxKeys) {
      keys_[slot] = key;
      numbers_[slot] = num_keys_++;
    }
    return numbers_[slot] == kFree ? kMaxKeys : numbers_[slot];
  }

  // Returns the number of a key; kMaxKeys if it is none.
  int32_t number_of(uint64_t symbol) const {
    const int32_t number = numbers_[find(symbol)];
    return number == kFree ? kMaxKeys : number;
  }

 private:
  static constexpr uint32_t kNumSlots = 1024;
  static constexpr int32_t kFree = -1;

  uint32_t find(uint64_t key) const {
    auto slot = static_cast<uint32_t>((key * 0x9E3779B97F4A7C15u) >> 54);
    while (numbers_[slot] != kFree && keys_[slot] != key) slot = (slot + 1) % kNumSlots;
    return slot;
  }

  std::array<uint64_t, kNumSlots> keys_{};
  std::array<int32_t, kNumSlots> numbers_ = [] {
    std::array<int32_t, kNumSlots> free{};
    free.fill(kFree);
    return free;
  }();
  int32_t num_keys_ = 0;
};

// Writes byte symbols with the same matches. Returns false where the document has too many different keys for that.
// `query`: may be empty, then no query is written.
inline bool narrow(std::span<const uint8_t> query, std::span<const uint8_t> key, uint8_t* narrow_query,
                   uint8_t* narrow_key) {
  std::copy(query.begin(), query.end(), narrow_query);
  std::copy(key.begin(), key.end(), narrow_key);
  return true;
}

inline bool narrow(std::span<const uint64_t> query, std::span<const uint64_t> key, uint8_t* narrow_query,
                   uint8_t* narrow_key) {
  uint64_t all = 0;
  for (const uint64_t symbol : query) all |= symbol;
  for (const uint64_t symbol : key) all |= symbol;
  if (all < 256) {
    std::copy(query.begin(), query.end(), narrow_query);
    std::copy(key.begin(), key.end(), narrow_key);
    return true;
  }
  KeyNumbers numbers;
  for (size_t i = 0; i < key.size(); ++i) {
    const int32_t number = numbers.add(key[i]);
    if (number == KeyNumbers::kMaxKeys) return false;
    narrow_key[i] = static_cast<uint8_t>(number);
  }
  for (size_t i = 0; i < query.size(); ++i) narrow_query[i] = static_cast<uint8_t>(numbers.number_of(query[i]));
  return true;
}

}  // namespace rosa::automaton
