// ByteBpe: byte-pair encoding (Sennrich et al. 2016) over bytes, with the merges of a trained vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rosa::text {

struct BpeMerge {
  int32_t left = 0, right = 0, result = 0;
};

struct BpeVocabulary {
  std::unordered_map<std::string, int32_t> ids;  // of byte strings
  std::vector<BpeMerge> merges;                  // the first is merged first; of equal pairs the last counts
  bool ignore_merges = false;                    // a piece that is a token is that token, however it would be merged
  int32_t unknown = -1;                          // for a byte without a token; -1: such bytes are left out
  bool fuse_unknown = false;                     // one for several bytes in a row
};

// Immutable; one for all threads.
class ByteBpe {
 public:
  explicit ByteBpe(BpeVocabulary vocabulary);

  // Appends the ids of one piece. Linear in its size for what texts are made of, n log n at worst.
  void encode(std::string_view piece, std::vector<int64_t>& ids) const;

 private:
  struct Pair {
    uint64_t key = 0;  // left and right
    int32_t rank = -1, result = -1;
  };
  static constexpr int32_t kNoRank = INT32_MAX;

  const Pair* find(int32_t left, int32_t right) const;
  int32_t rank_of(int32_t left, int32_t right) const;
  // The first symbols of a piece: one for each byte that has a token.
  void begin(std::string_view piece, std::vector<int32_t>& symbols) const;
  void merge_short(std::vector<int32_t>& symbols) const;
  void merge_long(std::vector<int32_t>& symbols) const;

  BpeVocabulary vocabulary_;
  std::array<int32_t, 256> of_byte_{};
  std::vector<Pair> pairs_;  // open addressing
  uint64_t mask_ = 0;
  std::vector<bool> may_be_pair_;  // by hash: most pairs are none, and this is smaller than the table
  const uint64_t serial_;          // tells the entries of different vocabularies apart in a thread's cache
};

}  // namespace rosa::text
