// rosa_stream: what the C interface (rosa_c.h) calls a stream. Throws; rosa_c.cpp keeps that inside.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/place_sums.h"
#include "rosa/automaton/streaming_matcher.h"
#include "rosa/automaton/symbol_sequence.h"

// Named as in rosa_c.h, where it is opaque.
struct rosa_stream {
 public:
  // Throws ArgumentError for sizes that do not fit.
  rosa_stream(int64_t batch, int64_t heads, int64_t kv_heads);

  int64_t batch() const { return batch_; }
  std::vector<int64_t> sizes() const;

  struct Rows {
    int64_t count = 0;
    const uint64_t *query = nullptr, *key = nullptr, *value = nullptr;
    const uint8_t* present = nullptr;  // null: all
    uint64_t* retrieved = nullptr;     // null: not wanted
    int32_t* positions = nullptr;
    int32_t* lengths = nullptr;
    int32_t value_bits = 0;  // of the means
    float* means = nullptr;
  };
  // After anything but an ArgumentError the stream is broken: every later call throws.
  void append(const Rows& rows, int num_threads);
  void rewind(std::span<const int64_t> counts);
  rosa_stream select(std::span<const int64_t> rows) const;

  std::vector<std::byte> save() const;
  static rosa_stream load(std::span<const std::byte> bytes);

  // Throws ArgumentError where an append has failed half way.
  void require_whole() const;

 private:
  int64_t kv_row(int64_t row) const { return row / heads_ * kv_heads_ + row % heads_ / (heads_ / kv_heads_); }

  int64_t batch_, heads_, kv_heads_;
  bool broken_ = false;
  std::vector<rosa::automaton::StreamingMatcher> matchers_;  // [batch][heads]
  std::vector<rosa::automaton::SymbolSequence> values_;      // [batch][kv_heads]: of the tokens that are there
  int32_t value_bits_ = 0;                                   // of the means so far, 0: none
};

namespace rosa::c {

constexpr int64_t kMaxSequences = int64_t{1} << 24;
constexpr int64_t kMaxLength = int64_t{1} << 30;

// Throws ArgumentError where the shape is none, or beyond what fits into memory anywhere.
void check_shape(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length);
// Writes the mean of each bit, of so many places; zeros where there is none.
template <class Counter>
void write_means(uint32_t num_places, std::span<const Counter> sums, float* means) {
  const auto count = static_cast<float>(std::max<uint32_t>(num_places, 1));
  for (size_t bit = 0; bit < sums.size(); ++bit) {
    means[bit] = num_places == 0 ? 0.0F : static_cast<float>(sums[bit]) / count;
  }
}

// Throws ArgumentError where means are of no such number of bits.
void check_value_bits(int32_t value_bits);

}  // namespace rosa::c
