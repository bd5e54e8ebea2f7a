// rosa_stream: what the C interface (rosa_c.h) calls a stream. Throws; rosa_c.cpp keeps that inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "rosa/automaton/streaming_matcher.h"

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
  std::vector<std::vector<uint64_t>> values_;                // [batch][kv_heads]: of the tokens that are there
};

namespace rosa::c {

constexpr int64_t kMaxSequences = int64_t{1} << 24;
constexpr int64_t kMaxLength = int64_t{1} << 30;

// Throws ArgumentError where the shape is none, or beyond what fits into memory anywhere.
void check_shape(int64_t batch, int64_t heads, int64_t kv_heads, int64_t length);

}  // namespace rosa::c
