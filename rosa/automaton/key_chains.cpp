#include "rosa/automaton/key_chains.h"

#include <algorithm>

namespace rosa::automaton {
namespace {

// The hash of symbols x[0 ... m - 1] is the sum of value(x[m - 1 - k]) * kBase^k, modulo 2^64.
constexpr uint64_t kBase = 0xD1342543DE82EF95u;
constexpr int32_t kMinHeadBits = 6;

uint64_t value(uint64_t symbol) {
  const uint64_t mixed = (symbol + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u;
  return mixed ^ (mixed >> 31);
}

constexpr auto kPowers = [] {
  std::array<uint64_t, 65> powers{};
  powers[0] = 1;
  for (size_t k = 1; k < powers.size(); ++k) powers[k] = powers[k - 1] * kBase;
  return powers;
}();

uint64_t head_of(uint64_t hash, int32_t head_bits) { return (hash * 0x9E3779B97F4A7C15u) >> (64 - head_bits); }

}  // namespace

KeyChains::KeyChains() { static_assert(kMaxOrder < static_cast<int32_t>(kPowers.size())); }

Match KeyChains::search(std::span<const uint64_t> keys, const Match& before, uint64_t symbol) {
  const int32_t limit = before.length + 1;
  // The hash of the string's last m symbols for every m at once.
  std::array<uint64_t, kOrders.size()> hashes;
  uint64_t hash = 0;
  int32_t num_levels = 0;
  for (int32_t m = 1; num_levels < static_cast<int32_t>(kOrders.size()) && m <= limit; ++m) {
    hash += value(m == 1 ? symbol : keys[before.position + 2 - m]) * kPowers[m - 1];
    if (m == kOrders[num_levels]) hashes[num_levels++] = hash;
  }
  int32_t enough = limit;
  for (int32_t i = num_levels - 1; i >= 0; --i) {
    fill(levels_[i], kOrders[i], keys);
    const Match match = walk(levels_[i], hashes[i], keys, before, symbol, enough);
    if (match.length >= kOrders[i] || is_spent(keys.size())) return match;
    enough = std::min(enough, kOrders[i] - 1);
  }
  return {};
}

// Enters the keys that are not entered yet.
void KeyChains::fill(Level& level, int32_t order, std::span<const uint64_t> keys) {
  if (level.heads.empty() || keys.size() > level.heads.size()) {
    level.head_bits = kMinHeadBits;
    while (size_t{1} << level.head_bits < keys.size()) ++level.head_bits;
    level.heads.assign(size_t{1} << level.head_bits, 0);
    level.previous.clear();
    level.rolling = 0;
  }
  const auto size = static_cast<int32_t>(keys.size());
  const auto num_entered = static_cast<int32_t>(level.previous.size());
  level.previous.resize(keys.size());
  for (int32_t i = num_entered; i < size; ++i) {
    level.rolling = level.rolling * kBase + value(keys[i]);
    if (i >= order) level.rolling -= value(keys[i - order]) * kPowers[order];
    uint32_t& head = level.heads[head_of(level.rolling, level.head_bits)];
    level.previous[i] = head;
    head = static_cast<uint32_t>(i) + 1;
  }
}

Match KeyChains::walk(const Level& level, uint64_t hash, std::span<const uint64_t> keys, const Match& before,
                      uint64_t symbol, int32_t enough) {
  Match best;
  for (uint32_t entry = level.heads[head_of(hash, level.head_bits)]; entry != 0; entry = level.previous[entry - 1]) {
    const auto position = static_cast<int32_t>(entry) - 1;
    ++num_steps_;
    if (is_spent(keys.size())) break;
    if (keys[position] != symbol) continue;
    const int32_t limit = std::min(position, before.length);
    int32_t length = 0;
    while (length < limit && keys[position - 1 - length] == keys[before.position - length]) ++length;
    num_steps_ += length / 8;
    if (length + 1 > best.length) {
      best = {position, length + 1};
      if (best.length >= enough) break;
    }
  }
  return best;
}

}  // namespace rosa::automaton
