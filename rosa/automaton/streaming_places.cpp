#include "rosa/automaton/streaming_places.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "rosa/automaton/bit_counters.h"

namespace rosa::automaton {
namespace {

constexpr uint64_t kScatter = 0x9E3779B97F4A7C15u;
constexpr int32_t kTableBits = 8;

int32_t order_above(int32_t order) { return order + std::max(1, order / 3); }

uint64_t last_symbols(uint64_t context, int32_t num_bits) { return context >> (64 - num_bits); }

}  // namespace

// Symbols have got wider: begins anew with contexts of so many bits.
void StreamingPlaces::choose_orders(int32_t num_bits) {
  symbol_bits_ = num_bits <= 1 ? 1 : num_bits <= 2 ? 2 : num_bits <= 4 ? 4 : num_bits <= 8 ? 8 : 64;
  table_order_ = has_table() ? kTableBits / symbol_bits_ : 0;
  table_.assign(has_table() ? (size_t{1} << kTableBits) * static_cast<size_t>(1 + num_lanes_) : 0, 0);
  num_entered_ = 0;
  key_context_ = 0;
  size_before_ = 0;
  levels_ = {};
  num_levels_ = 1;
  levels_[0].order = table_order_ + 1;
  num_wasted_steps_ = 0;
}

void StreamingPlaces::add_value(uint64_t value, uint32_t* lanes) const {
  for (int32_t first = 0; first < num_lanes_; first += kLanes, value >>= kLanes) {
    const BitLanes<uint32_t>& bits = kBitsOfByte<uint32_t>[value & 255];
    for (int32_t bit = 0; bit < kLanes; ++bit) lanes[first + bit] += bits.lanes[bit];
  }
}

void StreamingPlaces::take_value(uint64_t value, uint32_t* lanes) const {
  for (int32_t first = 0; first < num_lanes_; first += kLanes, value >>= kLanes) {
    const BitLanes<uint32_t>& bits = kBitsOfByte<uint32_t>[value & 255];
    for (int32_t bit = 0; bit < kLanes; ++bit) lanes[first + bit] -= bits.lanes[bit];
  }
}

uint32_t StreamingPlaces::count(const SymbolSequence& keys, const Match& match, const ValueBits& values,
                                std::span<uint32_t> sums) {
  base::require(value_bits_ == 0 || value_bits_ == values.num_bits, "StreamingMatcher::count_places: got room for ",
                values.num_bits, " sums, expected the ", value_bits_, " of earlier calls");
  ++num_calls_;
  value_bits_ = values.num_bits;
  num_lanes_ = kLanes * bit_groups(value_bits_);
  for (int32_t i = followers_.size(); i + 1 < keys.size(); ++i) {
    followers_.push_back(values.values[static_cast<int32_t>(values.first + i + 1)]);
  }
  if (!order_ && keys.num_bits() > symbol_bits_) choose_orders(keys.num_bits());
  const uint64_t context = target_context(keys, match);
  // The places of a match that is the one before it gone on are some of that one's, each gone on.
  const bool goes_on =
      keys.size() == size_before_ + 1 && match_before_.length > 0 && match.length == match_before_.length + 1;
  size_before_ = keys.size();
  match_before_ = match;
  Lanes lanes;
  std::fill_n(lanes.begin(), num_lanes_, 0);
  if (match.length == 0) {
    num_places_ = 0;
  } else if (goes_on && num_places_ == 1) {
    if (is_listed_) places_[0] = match.position;
    add_value(followers_[match.position], lanes.data());
  } else if (order_ || is_spent()) {
    count_in_order(keys, match, sums);
    return num_places_;
  } else if (match.length <= table_order_) {
    num_places_ = look_up(keys, match, context, lanes);
  } else if (goes_on && is_listed_) {
    go_on(keys, match, lanes);
  } else if (!walk(keys, match, lanes)) {
    count_in_order(keys, match, sums);
    return num_places_;
  }
  std::copy_n(lanes.begin(), value_bits_, sums.begin());
  return num_places_;
}

void StreamingPlaces::count_in_order(const SymbolSequence& keys, const Match& match, std::span<uint32_t> sums) {
  if (!order_) {
    table_ = {};
    levels_ = {};
    num_levels_ = 0;
    num_entered_ = 0;
    places_ = {};
  }
  PrefixOrder& order = order_.made();
  while (order.size() < followers_.size()) order.append(keys, followers_[order.size()], value_bits_);
  is_listed_ = false;
  std::fill(sums.begin(), sums.end(), 0);
  num_places_ = order.count(keys, match.position, match.length, sums);
}

// Returns the context of the match's last key: as many last symbols as the match has count, as in SymbolSequence.
uint64_t StreamingPlaces::target_context(const SymbolSequence& keys, const Match& match) {
  if (!has_table() || match.length == 0) return 0;
  // The call before, if there was one, knows all symbols but the last.
  if (keys.size() == size_before_ + 1) {
    target_context_ = target_context_ >> symbol_bits_ | keys[match.position] << (64 - symbol_bits_);
  } else {
    target_context_ = keys.context(match.position, symbol_bits_);
  }
  return target_context_;
}

// Returns what tells the last `order` keys apart; `context`: of the position.
uint64_t StreamingPlaces::hash_source(const SymbolSequence& keys, int32_t order, int32_t position,
                                      uint64_t context) const {
  if (has_table()) return last_symbols(context, symbol_bits_ * order);
  uint64_t symbols = 0;
  for (int32_t i = position + 1 - order; i <= position; ++i) symbols = (symbols ^ symbols >> 29) * kScatter + keys[i];
  return symbols ^ symbols >> 32;
}

void StreamingPlaces::enter(Level& level, const SymbolSequence& keys, int32_t position, uint64_t context) {
  if (position + 1 < level.order) {
    level.previous.push_back(0);
  } else {
    const uint64_t hash = hash_source(keys, level.order, position, context) * kScatter;
    uint32_t& head = level.heads[hash >> (64 - level.head_bits)];
    level.previous.push_back(head);
    head = static_cast<uint32_t>(position) + 1;
  }
}

// Appends the sums along the position's chain.
void StreamingPlaces::add_sums(Level& level, const SymbolSequence& keys, int32_t position) {
  uint32_t entry = level.previous[position];
  // Another context of the same hash. Where these are so many, the order of prefixes takes over with the next call.
  if (is_spent()) level.has_sums = false;
  while (level.has_sums && entry != 0 &&
         keys.common_suffix(static_cast<int32_t>(entry) - 1, position, level.order) < level.order) {
    entry = level.previous[entry - 1];
    ++num_steps_;
    if (is_spent()) level.has_sums = false;
  }
  if (!level.has_sums) return;
  level.counts.push_back(entry == 0 ? 1 : level.counts[entry - 1] + 1);
  const auto stride = static_cast<size_t>(num_lanes_);
  uint32_t* sums = level.sums.extend(stride);
  if (entry == 0) {
    std::fill_n(sums, stride, 0);
  } else {
    std::copy_n(level.sums.data() + (entry - 1) * stride, stride, sums);
  }
  add_value(followers_[position], sums);
}

// Enters the positions that are entered already.
void StreamingPlaces::enter_again(Level& level, const SymbolSequence& keys) {
  level.head_bits = std::clamp(static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(num_entered_ + 1))),
                               kMinHeadBits, kMaxHeadBits);
  level.heads.assign(size_t{1} << level.head_bits, 0);
  level.previous.clear();
  uint64_t context = 0;
  for (int32_t i = 0; i < num_entered_; ++i) {
    if (has_table()) context = context >> symbol_bits_ | keys[i] << (64 - symbol_bits_);
    enter(level, keys, i, context);
  }
}

// Enters what is not entered yet. One pass: the context is that of all.
void StreamingPlaces::fill(const SymbolSequence& keys) {
  const int32_t size = followers_.size();
  for (; num_entered_ < size; ++num_entered_) {
    if (has_table()) {
      key_context_ = key_context_ >> symbol_bits_ | keys[num_entered_] << (64 - symbol_bits_);
      if (num_entered_ >= table_order_ - 1) {  // the first positions have no whole context: they are not in the table
        const auto stride = static_cast<size_t>(1 + num_lanes_);
        uint32_t* entry = table_.data() + last_symbols(key_context_, kTableBits) * stride;
        ++entry[0];
        add_value(followers_[num_entered_], entry + 1);
      }
    }
    for (int32_t k = 0; k < num_levels_; ++k) {
      Level& level = levels_[k];
      if (static_cast<size_t>(num_entered_) >= level.heads.size() && level.head_bits < kMaxHeadBits) {
        enter_again(level, keys);
      }
      enter(level, keys, num_entered_, key_context_);
      if (level.has_sums) add_sums(level, keys, num_entered_);
    }
  }
}

// The contexts that end with the same symbols lie side by side.
uint32_t StreamingPlaces::look_up(const SymbolSequence& keys, const Match& match, uint64_t context, Lanes& lanes) {
  fill(keys);
  is_listed_ = false;
  const int32_t context_bits = symbol_bits_ * match.length;
  const uint64_t target = last_symbols(context, context_bits);
  const size_t width = size_t{1} << (kTableBits - context_bits), stride = static_cast<size_t>(1 + num_lanes_);
  const uint32_t* entry = table_.data() + target * width * stride;
  uint32_t count = 0;
  for (size_t i = 0; i < width; ++i, entry += stride) {
    count += entry[0];
    for (int32_t first = 0; first < num_lanes_; first += kLanes) {
      for (int32_t bit = 0; bit < kLanes; ++bit) lanes[first + bit] += entry[1 + first + bit];
    }
  }
  for (int32_t i = match.length - 1; i < std::min(followers_.size(), table_order_ - 1); ++i) {
    if (last_symbols(keys.context(i, symbol_bits_), context_bits) != target) continue;
    ++count;
    add_value(followers_[i], lanes.data());
  }
  return count;
}

// Walks the chain of the match's latest place. Returns false, with the sums of no use, where that is too slow.
bool StreamingPlaces::walk(const SymbolSequence& keys, const Match& match, Lanes& lanes) {
  fill(keys);
  int32_t chosen = num_levels_ - 1;
  while (levels_[chosen].order > match.length) --chosen;
  Level& level = levels_[chosen];
  if (level.has_sums && level.order == match.length) {
    is_listed_ = false;
    num_places_ = level.counts[match.position];
    std::copy_n(level.sums.data() + static_cast<size_t>(match.position) * num_lanes_, num_lanes_, lanes.begin());
    return true;
  }
  const int64_t num_steps_before = num_steps_;
  places_.assign(1, match.position);
  is_listed_ = true;
  add_value(followers_[match.position], lanes.data());
  for (uint32_t entry = level.previous[match.position]; static_cast<int32_t>(entry) >= match.length;) {
    const auto i = static_cast<int32_t>(entry) - 1;
    entry = level.previous[i];
    ++num_steps_;
    const int32_t common = keys.common_suffix(i, match.position, match.length);
    num_steps_ += common / 64;
    if (is_spent()) return false;
    if (common < match.length) continue;
    places_.push_back(i);
    add_value(followers_[i], lanes.data());
  }
  num_places_ = static_cast<uint32_t>(places_.size());
  judge(level, keys, match.length, num_steps_ - num_steps_before);
  return true;
}

// Takes note of a walk: sums along the chains, or one more level, come once such walks have cost as much as that.
void StreamingPlaces::judge(Level& level, const SymbolSequence& keys, int32_t length, int64_t num_steps) {
  constexpr int64_t kShortWalk = 4, kLongWalk = 64;  // sums take more memory than a level
  if (num_steps <= kShortWalk) return;
  if (level.order == length) {
    if (num_steps > kLongWalk) level.num_exact_steps += num_steps;
    if (level.has_sums || level.num_exact_steps <= num_entered_) return;
    level.has_sums = true;
    for (int32_t i = 0; i < num_entered_ && level.has_sums; ++i) add_sums(level, keys, i);
    return;
  }
  const int32_t order = order_above(level.order);
  const bool is_of_use =
      &level == &levels_[num_levels_ - 1] && num_levels_ < kMaxLevels && order <= std::min(length, max_order());
  if (!is_of_use) return;
  num_wasted_steps_ += num_steps;
  if (num_wasted_steps_ <= num_entered_) return;
  num_wasted_steps_ = 0;
  Level& next = levels_[num_levels_++];
  next.order = order;
  enter_again(next, keys);
}

// The places before whose next key is that of the match's latest place are those of now.
void StreamingPlaces::go_on(const SymbolSequence& keys, const Match& match, Lanes& lanes) {
  const uint64_t symbol = keys[match.position];
  num_steps_ += num_places_;
  size_t num_places = 0;
  for (const int32_t before : places_) {
    if (keys[before + 1] != symbol) continue;
    places_[num_places++] = before + 1;
    add_value(followers_[before + 1], lanes.data());
  }
  places_.resize(num_places);
  num_places_ = static_cast<uint32_t>(num_places);
}

void StreamingPlaces::rewind(const SymbolSequence& keys, int32_t size) {
  size_before_ = -1;
  match_before_ = {};
  is_listed_ = false;
  const int32_t kept = std::max(0, size - 1);  // so many have a value after them
  if (followers_.size() <= kept) return;
  if (order_) order_->rewind(kept);
  for (; num_entered_ > kept; --num_entered_) {
    const int32_t i = num_entered_ - 1;
    const uint64_t context = has_table() ? keys.context(i, symbol_bits_) : 0;
    for (int32_t k = 0; k < num_levels_; ++k) {
      Level& level = levels_[k];
      if (i + 1 >= level.order) {
        const uint64_t hash = hash_source(keys, level.order, i, context) * kScatter;
        level.heads[hash >> (64 - level.head_bits)] = level.previous[i];
      }
      level.previous.truncate(i);
      if (!level.has_sums) continue;
      level.counts.truncate(i);
      level.sums.truncate(static_cast<size_t>(i) * num_lanes_);
    }
    if (!has_table() || i < table_order_ - 1) continue;
    uint32_t* entry = table_.data() + last_symbols(context, kTableBits) * static_cast<size_t>(1 + num_lanes_);
    --entry[0];
    take_value(followers_[i], entry + 1);
  }
  key_context_ = has_table() && num_entered_ > 0 ? keys.context(num_entered_ - 1, symbol_bits_) : 0;
  followers_.truncate(kept);
}

size_t StreamingPlaces::num_bytes() const {
  size_t num_bytes = sizeof(*this) + followers_.num_bytes() + table_.capacity() * sizeof(uint32_t) +
                     places_.capacity() * sizeof(int32_t) + (order_ ? order_->num_bytes() : 0);
  for (const Level& level : levels_) {
    num_bytes += level.heads.capacity() * sizeof(uint32_t) + level.previous.num_bytes() + level.counts.num_bytes() +
                 level.sums.num_bytes();
  }
  return num_bytes;
}

}  // namespace rosa::automaton
