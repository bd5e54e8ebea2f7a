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

// Returns the head of a hash, among 2^head_bits.
uint32_t scattered(uint32_t hash, int32_t head_bits) { return ((hash ^ hash >> 15) * 0x9E3779B1u) >> (32 - head_bits); }

uint32_t value(uint64_t symbol) {
  return static_cast<uint32_t>(((symbol + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u) >> 32);
}

constexpr auto kPowers = [] {
  std::array<uint32_t, kMaxOrder + 1> powers{};
  powers[0] = 1;
  for (size_t k = 1; k < powers.size(); ++k) powers[k] = powers[k - 1] * kBase;
  return powers;
}();

// Returns how many keys up to and including `position` are equal, at most `limit`.
int32_t run_at(const SymbolSequence& keys, int32_t position, int32_t limit) {
  return 1 + keys.common_suffix(position, position - 1, std::min(position, limit - 1));
}

// Returns the length of the last `num_runs` runs up to and including `position` and the one key before them; 0 where
// there is none or that is more than kMaxOrder.
int32_t order_of_runs(const SymbolSequence& keys, int32_t position, int32_t num_runs) {
  int32_t start = position + 1;
  for (int32_t i = 0; i < num_runs; ++i) {
    if (start == 0) return 0;
    start -= run_at(keys, start - 1, kMaxOrder);
  }
  const int32_t order = position + 1 - start + 1;
  return start == 0 || order > kMaxOrder ? 0 : order;
}

}  // namespace

// Chosen by measuring (bench/matcher_bench.cpp).
void KeyChains::choose_orders(int32_t num_bits) {
  const auto use = [&](std::initializer_list<int32_t> orders) {
    num_orders_ = 0;
    for (const int32_t order : orders) levels_[num_orders_++] = {order, 0, 0, {}, {}};
  };
  symbol_bits_ = num_bits <= 1 ? 1 : num_bits <= 2 ? 2 : num_bits <= 4 ? 4 : num_bits <= 8 ? 8 : 64;
  num_active_ = 1;
  num_wasted_steps_ = 0;
  for (int32_t i = 0; i < kMaxRuns; ++i) run_levels_[i].num_runs = i + 1;
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
  Target target{before, symbol, 1};
  if (before.length > 0 && keys[before.position] == symbol) target.run += run_at(keys, before.position, before.length);
  std::array<Walk, kMaxLevels + kMaxRuns> walks;
  int32_t enough = target.limit();
  for (int32_t i = list_walks(keys, target, walks) - 1; i >= 0; --i) {
    const int64_t num_steps_before = num_steps_;
    const Match match = walk(walks[i], keys, target, enough);
    ask_for_next(*walks[i].level, target, keys.size(), num_steps_ - num_steps_before);
    if (match.length >= walks[i].order || is_spent(keys.size())) return match;
    enough = std::min(enough, walks[i].order - 1);
  }
  return {};
}

// Writes the levels that may hold the target, by order, ascending, and returns their number.
int32_t KeyChains::list_walks(const SymbolSequence& keys, const Target& target,
                              std::array<Walk, kMaxLevels + kMaxRuns>& walks) {
  const uint32_t last = value(target.symbol);
  const int32_t position = target.before.position;
  int32_t num_walks = 0;
  const auto list = [&](Level& level, int32_t order) {
    fill(level, keys);
    const uint32_t hash = hash_before(order - 1, position) * kBase + last;
    int32_t place = num_walks++;
    for (; place > 0 && walks[place - 1].order > order; --place) walks[place] = walks[place - 1];
    walks[place] = {&level, order, level.heads[scattered(hash, level.head_bits)]};
  };
  for (int32_t i = 0; i < num_active_ && levels_[i].order <= target.limit(); ++i) list(levels_[i], levels_[i].order);
  int32_t length = target.run;
  for (int32_t i = 0; i < num_active_runs_ && length < std::min(target.limit(), kMaxOrder); ++i) {
    list(run_levels_[i], length + 1);
    length += run_at(keys, position + 1 - length, target.limit() - length);
  }
  return num_walks;
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

uint32_t& KeyChains::head(Level& level, int32_t order, int32_t position) const {
  return level.heads[scattered(hash_before(order, position), level.head_bits)];
}

// Enters the keys that are not entered yet.
void KeyChains::fill(Level& level, const SymbolSequence& keys) {
  const int32_t size = keys.size();
  const int64_t max_bits =
      level.num_runs > 0 ? 30 : std::clamp<int64_t>(int64_t{symbol_bits_} * level.order + 2, kMinHeadBits, 30);
  if (level.heads.empty() || (static_cast<size_t>(size) > level.heads.size() && level.head_bits < max_bits)) {
    // Room for more to come: what is here must be entered again.
    const int32_t size_bits = std::bit_width(static_cast<uint32_t>(size)) + 1;
    level.head_bits = static_cast<int32_t>(std::clamp<int64_t>(size_bits, kMinHeadBits, max_bits));
    level.heads.assign(size_t{1} << level.head_bits, 0);
    level.previous.clear();
  }
  int32_t order = level.order;
  for (auto i = static_cast<int32_t>(level.previous.size()); i < size; ++i) {
    if (level.num_runs > 0) {
      const bool goes_on = order > 0 && order < kMaxOrder && keys[i] == keys[i - 1];
      order = goes_on ? order + 1 : order_of_runs(keys, i, level.num_runs);
      if (order == 0) {
        level.previous.push_back(0);
        continue;
      }
    }
    uint32_t& first = head(level, order, i);
    level.previous.push_back(first);
    first = static_cast<uint32_t>(i) + 1;
  }
}

// Adds a level once walks have wasted as much as that costs: one of more runs where runs were in the way, else one of
// higher order.
void KeyChains::ask_for_next(const Level& level, const Target& target, int32_t num_keys, int64_t num_steps) {
  constexpr int64_t kShortWalk = 4;
  constexpr int32_t kLongRun = 6;  // shorter ones come by chance
  if (num_steps <= kShortWalk) return;
  const bool is_run = level.num_runs > 0 || (level.order <= target.run && target.run >= kLongRun);
  const bool is_next_of_use = is_run ? num_active_runs_ < kMaxRuns
                                     : &level == &levels_[num_active_ - 1] && num_active_ < num_orders_ &&
                                           levels_[num_active_].order <= target.limit();
  if (!is_next_of_use) return;
  int64_t& num_wasted = is_run ? num_wasted_run_steps_ : num_wasted_steps_;
  num_wasted += num_steps - kShortWalk;
  if (num_wasted <= num_keys) return;
  num_wasted = 0;
  ++(is_run ? num_active_runs_ : num_active_);
}

Match KeyChains::walk(const Walk& walk, const SymbolSequence& keys, const Target& target, int32_t enough) {
  const GrowingArray<uint32_t>& previous = walk.level->previous;
  const Match& before = target.before;
  Match best;
  for (uint32_t entry = walk.entry; entry != 0;) {
    const auto position = static_cast<int32_t>(entry) - 1;
    entry = previous[position];
    ++num_steps_;
    if (is_spent(keys.size())) break;
    if (keys[position] != target.symbol) continue;
    const int32_t length = 1 + keys.common_suffix(position - 1, before.position, std::min(position, before.length));
    num_steps_ += length / 64;
    if (length > best.length) {
      best = {position, length};
      if (best.length >= enough) break;
    }
    if (walk.order > target.run || length < walk.order) continue;
    // All symbols of the context are equal: of a run, one position can be the best, that where it is as long as the
    // target's. The entries of the run follow each other in the chain.
    int32_t run = std::min(length, target.run);
    if (length == target.run) {
      run = run_at(keys, position, position + 1);
      num_steps_ += run / 64;
    }
    entry = run > target.run ? static_cast<uint32_t>(position - (run - target.run) + 1)
                             : previous[position - (run - walk.order)];
  }
  return best;
}

void KeyChains::rewind(const SymbolSequence& keys, int32_t size) {
  const auto rewind_level = [&](Level& level) {
    for (auto i = static_cast<int32_t>(level.previous.size()) - 1; i >= size; --i) {
      const int32_t order = level.num_runs > 0 ? order_of_runs(keys, i, level.num_runs) : level.order;
      if (order > 0) head(level, order, i) = level.previous[i];
    }
    if (level.previous.size() > static_cast<size_t>(size)) level.previous.truncate(size);
  };
  for (Level& level : levels_) rewind_level(level);
  for (Level& level : run_levels_) rewind_level(level);
  if (hashes_.size() > static_cast<size_t>(size) + 1) hashes_.truncate(static_cast<size_t>(size) + 1);
}

size_t KeyChains::num_bytes() const {
  size_t num_bytes = hashes_.num_bytes();
  for (const Level& level : levels_)
    num_bytes += level.heads.capacity() * sizeof(uint32_t) + level.previous.num_bytes();
  return num_bytes;
}

}  // namespace rosa::automaton
