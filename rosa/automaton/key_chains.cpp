#include "rosa/automaton/key_chains.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

namespace rosa::automaton {
namespace {

// The hash of symbols x[0 ... m - 1] is the sum of value(x[m - 1 - k]) * kBase^k, modulo 2^32.
constexpr uint32_t kBase = 0x05000861u;
constexpr int32_t kMaxOrder = 512;
constexpr int32_t kMinHeadBits = 4;

uint32_t value(uint64_t symbol) {
  return static_cast<uint32_t>(((symbol + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u) >> 32);
}

constexpr auto kPowers = [] {
  std::array<uint32_t, kMaxOrder + 1> powers{};
  powers[0] = 1;
  for (size_t k = 1; k < powers.size(); ++k) powers[k] = powers[k - 1] * kBase;
  return powers;
}();

uint32_t head_of(uint32_t hash, int32_t head_bits) { return ((hash ^ hash >> 15) * 0x9E3779B1u) >> (32 - head_bits); }

}  // namespace

// Chosen by measuring (bench/matcher_bench.cpp).
void KeyChains::choose_orders(int32_t num_bits) {
  const auto use = [&](std::initializer_list<int32_t> orders) {
    num_orders_ = 0;
    for (const int32_t order : orders) levels_[num_orders_++] = {order, 0, {}, {}};
  };
  symbol_bits_ = num_bits <= 1 ? 1 : num_bits <= 2 ? 2 : num_bits <= 4 ? 4 : num_bits <= 8 ? 8 : 64;
  num_active_ = 1;
  num_wasted_steps_ = 0;
  switch (symbol_bits_) {
    case 1:
      return use({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 22, 26, 32, 40, 64, 96, 160, 256, 512});
    case 2:
      return use({1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 20, 28, 40, 64, 96, 160, 256, 512});
    default:
      return use({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 20, 24, 32, 40, 64, 96, 160, 256, 512});
  }
}

Match KeyChains::search(const SymbolSequence& keys, const Match& before, uint64_t symbol) {
  if (keys.num_bits() > symbol_bits_) choose_orders(keys.num_bits());
  extend_hashes(keys);
  const int32_t limit = before.length + 1;
  const uint32_t last = value(symbol);
  std::array<uint32_t, kMaxLevels> entries;
  int32_t num_levels = 0;
  for (; num_levels < num_active_ && levels_[num_levels].order <= limit; ++num_levels) {
    Level& level = levels_[num_levels];
    fill(level, keys);
    const uint32_t hash = hash_before(level.order - 1, before.position) * kBase + last;
    entries[num_levels] = level.heads[head_of(hash, level.head_bits)];
  }
  int32_t enough = limit;
  for (int32_t i = num_levels - 1; i >= 0; --i) {
    const int64_t num_steps_before = num_steps_;
    const Match match = walk(levels_[i], entries[i], keys, before, symbol, enough);
    if (i == num_active_ - 1) ask_for_next(keys.size(), limit, num_steps_ - num_steps_before);
    if (match.length >= levels_[i].order || is_spent(keys.size())) return match;
    enough = std::min(enough, levels_[i].order - 1);
  }
  return {};
}

void KeyChains::extend_hashes(const SymbolSequence& keys) {
  if (hashes_.empty()) hashes_.push_back(0);
  for (auto i = static_cast<int32_t>(hashes_.size()) - 1; i < keys.size(); ++i) {
    hashes_.push_back(hashes_.back() * kBase + value(keys[i]));
  }
}

// Returns the hash of the `order` keys up to and including `position`, or of all up to it where there are not so many.
uint32_t KeyChains::hash_before(int32_t order, int32_t position) const {
  const uint32_t before = position + 1 > order ? hashes_[position + 1 - order] : 0;
  return hashes_[position + 1] - before * kPowers[order];
}

// Enters the keys that are not entered yet.
void KeyChains::fill(Level& level, const SymbolSequence& keys) {
  const int32_t size = keys.size();
  const int64_t max_bits = std::max<int64_t>(kMinHeadBits, int64_t{symbol_bits_} * level.order + 2);
  if (level.heads.empty() || (static_cast<size_t>(size) > level.heads.size() && level.head_bits < max_bits)) {
    // Room for more to come: what is here must be entered again.
    const int32_t size_bits = std::bit_width(static_cast<uint32_t>(size)) + 1;
    level.head_bits = static_cast<int32_t>(std::clamp<int64_t>(size_bits, kMinHeadBits, max_bits));
    level.heads.assign(size_t{1} << level.head_bits, 0);
    level.previous.clear();
  }
  for (auto i = static_cast<int32_t>(level.previous.size()); i < size; ++i) {
    uint32_t& head = level.heads[head_of(hash_before(level.order, i), level.head_bits)];
    level.previous.push_back(head);
    head = static_cast<uint32_t>(i) + 1;
  }
}

// Adds a level once walks of the highest one have wasted as much as that costs.
void KeyChains::ask_for_next(int32_t num_keys, int32_t limit, int64_t num_steps) {
  constexpr int64_t kShortWalk = 4;
  if (num_steps <= kShortWalk || num_active_ == num_orders_ || levels_[num_active_].order > limit) return;
  num_wasted_steps_ += num_steps - kShortWalk;
  if (num_wasted_steps_ <= num_keys) return;
  num_wasted_steps_ = 0;
  ++num_active_;
}

Match KeyChains::walk(const Level& level, uint32_t entry, const SymbolSequence& keys, const Match& before,
                      uint64_t symbol, int32_t enough) {
  Match best;
  for (; entry != 0; entry = level.previous[entry - 1]) {
    const auto position = static_cast<int32_t>(entry) - 1;
    ++num_steps_;
    if (is_spent(keys.size())) break;
    if (keys[position] != symbol) continue;
    const int32_t length = keys.common_suffix(position - 1, before.position, std::min(position, before.length));
    num_steps_ += length / 64;
    if (length + 1 > best.length) {
      best = {position, length + 1};
      if (best.length >= enough) break;
    }
  }
  return best;
}

void KeyChains::rewind(int32_t size) {
  for (Level& level : levels_) {
    for (auto i = static_cast<int32_t>(level.previous.size()) - 1; i >= size; --i) {
      level.heads[head_of(hash_before(level.order, i), level.head_bits)] = level.previous[i];
    }
    if (level.previous.size() > static_cast<size_t>(size)) level.previous.truncate(size);
  }
  if (hashes_.size() > static_cast<size_t>(size) + 1) hashes_.truncate(static_cast<size_t>(size) + 1);
}

size_t KeyChains::num_bytes() const {
  size_t num_bytes = hashes_.num_bytes();
  for (const Level& level : levels_)
    num_bytes += level.heads.capacity() * sizeof(uint32_t) + level.previous.num_bytes();
  return num_bytes;
}

}  // namespace rosa::automaton
