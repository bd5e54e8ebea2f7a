#include "rosa/automaton/streaming_places.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace rosa::automaton {
namespace {

constexpr uint64_t kScatter = 0x9E3779B97F4A7C15u;
constexpr int32_t kTableBits = 8;

int32_t order_above(int32_t order) { return order + std::max(1, order / 2); }

}  // namespace

// Symbols have got wider: begins anew with contexts of so many bits.
void StreamingPlaces::choose_orders(int32_t num_bits) {
  symbol_bits_ = num_bits <= 1 ? 1 : num_bits <= 2 ? 2 : num_bits <= 4 ? 4 : num_bits <= 8 ? 8 : 64;
  table_order_ = has_table() ? kTableBits / symbol_bits_ : 0;
  table_.assign(has_table() ? (size_t{1} << kTableBits) * static_cast<size_t>(1 + value_bits_) : 0, 0);
  num_tabled_ = 0;
  levels_ = {};
  num_levels_ = 0;
  num_wasted_steps_ = 0;
  add_level(table_order_ + 1);
}

void StreamingPlaces::add_level(int32_t order) { levels_[num_levels_++].order = order; }

void StreamingPlaces::add_value_bits(uint64_t value, std::span<uint32_t> sums) const {
  for (int32_t bit = 0; bit < value_bits_; ++bit) sums[bit] += value >> bit & 1;
}

uint32_t StreamingPlaces::count(const SymbolSequence& keys, const Match& match, const ValueBits& values,
                                std::span<uint32_t> sums) {
  base::require(value_bits_ == 0 || value_bits_ == values.num_bits, "StreamingMatcher::count_places: got room for ",
                values.num_bits, " sums, expected the ", value_bits_, " of earlier calls");
  ++num_calls_;
  value_bits_ = values.num_bits;
  for (int32_t i = followers_.size(); i + 1 < keys.size(); ++i) {
    followers_.push_back(values.values[static_cast<int32_t>(values.first + i + 1)]);
  }
  std::fill(sums.begin(), sums.end(), 0);
  // The places of a match that is the one before it gone on are some of that one's, each gone on.
  const bool goes_on =
      keys.size() == size_before_ + 1 && match_before_.length > 0 && match.length == match_before_.length + 1;
  size_before_ = keys.size();
  match_before_ = match;
  if (match.length == 0) {
    num_places_ = 0;
  } else if (goes_on && num_places_ == 1) {
    if (is_listed_) places_[0] = match.position;
    add_value_bits(followers_[match.position], sums);
  } else if (order_ || is_spent()) {
    count_in_order(keys, match, sums);
  } else {
    if (keys.num_bits() > symbol_bits_) choose_orders(keys.num_bits());
    if (match.length <= table_order_) {
      look_up(keys, match, sums);
    } else if (goes_on && is_listed_) {
      go_on(keys, match, sums);
    } else if (!walk(keys, match, sums)) {
      count_in_order(keys, match, sums);
    }
  }
  return num_places_;
}

void StreamingPlaces::count_in_order(const SymbolSequence& keys, const Match& match, std::span<uint32_t> sums) {
  if (!order_) {
    table_ = {};
    num_tabled_ = 0;
    levels_ = {};
    num_levels_ = 0;
    places_ = {};
  }
  PrefixOrder& order = order_.made();
  while (order.size() < followers_.size()) order.append(keys, followers_[order.size()], value_bits_);
  is_listed_ = false;
  std::fill(sums.begin(), sums.end(), 0);
  num_places_ = order.count(keys, match.position, match.length, sums);
}

// The first positions have no whole context: they are in no table.
void StreamingPlaces::fill_table(const SymbolSequence& keys) {
  for (; num_tabled_ < followers_.size(); ++num_tabled_) {
    if (num_tabled_ < table_order_ - 1) continue;
    const uint64_t context = keys.context(num_tabled_, symbol_bits_) >> (64 - kTableBits);
    uint32_t* entry = table_.data() + context * static_cast<size_t>(1 + value_bits_);
    ++entry[0];
    for (int32_t bit = 0; bit < value_bits_; ++bit) entry[1 + bit] += followers_[num_tabled_] >> bit & 1;
  }
}

// The contexts that end with the same symbols lie side by side.
void StreamingPlaces::look_up(const SymbolSequence& keys, const Match& match, std::span<uint32_t> sums) {
  fill_table(keys);
  is_listed_ = false;
  const int32_t context_bits = symbol_bits_ * match.length;
  const uint64_t target = keys.context(match.position, symbol_bits_) >> (64 - context_bits);
  const size_t width = size_t{1} << (kTableBits - context_bits);
  const uint32_t* entry = table_.data() + target * width * static_cast<size_t>(1 + value_bits_);
  num_places_ = 0;
  for (size_t i = 0; i < width; ++i, entry += 1 + value_bits_) {
    num_places_ += entry[0];
    for (int32_t bit = 0; bit < value_bits_; ++bit) sums[bit] += entry[1 + bit];
  }
  for (int32_t i = match.length - 1; i < std::min(followers_.size(), table_order_ - 1); ++i) {
    if (keys.context(i, symbol_bits_) >> (64 - context_bits) != target) continue;
    ++num_places_;
    add_value_bits(followers_[i], sums);
  }
}

// The highest bits are the best.
uint32_t StreamingPlaces::hash_at(const SymbolSequence& keys, int32_t order, int32_t position) const {
  uint64_t symbols = 0;
  if (has_table()) {
    symbols = keys.context(position, symbol_bits_) >> (64 - symbol_bits_ * order);
  } else {
    for (int32_t i = position + 1 - order; i <= position; ++i) symbols = (symbols ^ symbols >> 29) * kScatter + keys[i];
  }
  symbols ^= symbols >> 32;
  return static_cast<uint32_t>((symbols * kScatter) >> 32);
}

// Enters what is not entered yet.
void StreamingPlaces::fill(Level& level, const SymbolSequence& keys) {
  const int32_t size = followers_.size();
  const auto wanted =
      std::clamp(static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size))), kMinHeadBits, kMaxHeadBits);
  if (wanted > level.head_bits) {
    level.head_bits = wanted;
    level.heads.assign(size_t{1} << wanted, 0);
    level.previous.clear();
  }
  for (auto i = static_cast<int32_t>(level.previous.size()); i < size; ++i) {
    if (i + 1 < level.order) {
      level.previous.push_back(0);
      continue;
    }
    uint32_t& head = level.heads[hash_at(keys, level.order, i) >> (32 - level.head_bits)];
    level.previous.push_back(head);
    head = static_cast<uint32_t>(i) + 1;
  }
}

// Walks the chain of the match's latest place. Returns false, with the sums of no use, where that is too slow.
bool StreamingPlaces::walk(const SymbolSequence& keys, const Match& match, std::span<uint32_t> sums) {
  int32_t chosen = num_levels_ - 1;
  while (levels_[chosen].order > match.length) --chosen;
  Level& level = levels_[chosen];
  fill(level, keys);
  const int64_t num_steps_before = num_steps_;
  places_.assign(1, match.position);
  is_listed_ = true;
  add_value_bits(followers_[match.position], sums);
  for (uint32_t entry = level.previous[match.position]; entry != 0;) {
    const auto i = static_cast<int32_t>(entry) - 1;
    if (i + 1 < match.length) break;
    entry = level.previous[i];
    ++num_steps_;
    const int32_t common = keys.common_suffix(i, match.position, match.length);
    num_steps_ += common / 64;
    if (is_spent()) return false;
    if (common < match.length) continue;
    places_.push_back(i);
    add_value_bits(followers_[i], sums);
  }
  num_places_ = static_cast<uint32_t>(places_.size());
  // One more level, once the chains of the highest one have wasted as much as that costs.
  const int32_t order = order_above(level.order);
  if (chosen != num_levels_ - 1 || num_levels_ == kMaxLevels || order > std::min(match.length, max_order()))
    return true;
  num_wasted_steps_ += num_steps_ - num_steps_before - (num_places_ - 1);
  if (num_wasted_steps_ > keys.size()) {
    num_wasted_steps_ = 0;
    add_level(order);
  }
  return true;
}

// The places before whose next key is that of the match's latest place are those of now.
void StreamingPlaces::go_on(const SymbolSequence& keys, const Match& match, std::span<uint32_t> sums) {
  const uint64_t symbol = keys[match.position];
  num_steps_ += num_places_;
  size_t num_places = 0;
  for (const int32_t before : places_) {
    if (keys[before + 1] != symbol) continue;
    places_[num_places++] = before + 1;
    add_value_bits(followers_[before + 1], sums);
  }
  places_.resize(num_places);
  num_places_ = static_cast<uint32_t>(num_places);
}

void StreamingPlaces::rewind(const SymbolSequence& keys, int32_t size) {
  match_before_ = {};
  is_listed_ = false;
  const int32_t kept = std::max(0, size - 1);  // so many have a value after them
  if (followers_.size() <= kept) return;
  if (order_) order_->rewind(kept);
  for (int32_t k = 0; k < num_levels_; ++k) {
    Level& level = levels_[k];
    for (auto i = static_cast<int32_t>(level.previous.size()) - 1; i >= kept; --i) {
      if (i + 1 >= level.order) {
        level.heads[hash_at(keys, level.order, i) >> (32 - level.head_bits)] = level.previous[i];
      }
      level.previous.truncate(i);
    }
  }
  for (; num_tabled_ > kept; --num_tabled_) {
    const int32_t i = num_tabled_ - 1;
    if (i < table_order_ - 1) continue;
    const uint64_t context = keys.context(i, symbol_bits_) >> (64 - kTableBits);
    uint32_t* entry = table_.data() + context * static_cast<size_t>(1 + value_bits_);
    --entry[0];
    for (int32_t bit = 0; bit < value_bits_; ++bit) entry[1 + bit] -= followers_[i] >> bit & 1;
  }
  followers_.truncate(kept);
}

size_t StreamingPlaces::num_bytes() const {
  size_t num_bytes = sizeof(*this) + followers_.num_bytes() + table_.capacity() * sizeof(uint32_t) +
                     places_.capacity() * sizeof(int32_t) + (order_ ? order_->num_bytes() : 0);
  for (const Level& level : levels_)
    num_bytes += level.heads.capacity() * sizeof(uint32_t) + level.previous.num_bytes();
  return num_bytes;
}

}  // namespace rosa::automaton
