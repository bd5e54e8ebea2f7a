// PrefixHashes: the hash of any stretch of a document's byte symbols in O(1), from the hashes of its prefixes.
#pragma once

#include <array>
#include <cstdint>

#include "rosa/automaton/workspace.h"

namespace rosa::automaton {

// The hash of x[0 ... m - 1] is the sum of value(x[m - 1 - k]) * kBase^k, modulo 2^32.
class PrefixHashes {
 public:
  static constexpr int32_t kMaxOrder = 512;

  static size_t workspace_bytes(int32_t size) {
    return sizeof(uint32_t) * (static_cast<size_t>(size) + 1) + Workspace::kAlignment;
  }

  PrefixHashes(const uint8_t* symbols, int32_t size, Workspace& workspace)
      : symbols_(symbols), hashes_(workspace.take_items<uint32_t>(static_cast<size_t>(size) + 1)) {
    hashes_[0] = 0;
  }

  // Makes the hashes of the first `size` symbols known.
  void extend(int32_t size) {
    uint32_t hash = hashes_[num_known_];
    for (; num_known_ < size; ++num_known_) {
      hash = hash * kBase + (symbols_[num_known_] + 1) * kScatter;
      hashes_[num_known_ + 1] = hash;
    }
  }

  // Returns a hash, whose highest bits are its best, of the last `order` symbols up to and including `position`, or of
  // all of them where there are not so many. order <= kMaxOrder.
  uint32_t of_last(int32_t order, int32_t position) const {
    const uint32_t before = position + 1 >= order ? hashes_[position + 1 - order] : 0;
    const uint32_t hash = hashes_[position + 1] - before * kPowers[order];
    return (hash ^ hash >> 15) * kScatter;
  }

 private:
  static constexpr uint32_t kBase = 0x01000193u * 5u + 2u;
  static constexpr uint32_t kScatter = 0x9E3779B1u;
  static constexpr auto kPowers = [] {
    std::array<uint32_t, kMaxOrder + 1> powers{};
    powers[0] = 1;
    for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * kBase;
    return powers;
  }();

  const uint8_t* symbols_;
  uint32_t* hashes_;
  int32_t num_known_ = 0;
};

}  // namespace rosa::automaton
