#include "rosa/automaton/key_chains.h"

#include <algorithm>
#include <bit>
#include <iterator>

namespace rosa::automaton {
namespace {

// The hash of symbols x[0 ... m - 1] is the sum of value(x[m - 1 - k]) * kBase^k, modulo 2^32.
constexpr uint32_t kBase = 0x05000861u;
constexpr int32_t kMaxOrder = 4096;
constexpr int32_t kMinHeadBits = 4;
constexpr int32_t kMaxHeadBits = 29;

constexpr int32_t kFilterBits = 3;

// Scatters over all 32 bits; the highest are the best.
uint32_t scattered(uint32_t hash) { return (hash ^ hash >> 15) * 0x9E3779B1u; }

uint32_t hash_of_context(uint64_t symbols) { return static_cast<uint32_t>((symbols * 0x9E3779B97F4A7C15u) >> 32); }

uint32_t value(uint64_t symbol) {
  return static_cast<uint32_t>(((symbol + 0x9E3779B97F4A7C15u) * 0xBF58476D1CE4E5B9u) >> 32);
}

constexpr auto kPowers = [] {
  std::array<uint32_t, kMaxOrder + 1> powers{};
  powers[0] = 1;
  for (size_t k = 1; k < powers.size(); ++k) powers[k] = powers[k - 1] * kBase;
  return powers;
}();

}  // namespace

void KeyChains::choose_orders(int32_t num_bits) {
  symbol_bits_ = num_bits <= 1 ? 1 : num_bits <= 2 ? 2 : num_bits <= 4 ? 4 : num_bits <= 8 ? 8 : 64;
  tables_ = has_tables() ? ContextTables(symbol_bits_) : ContextTables();
  levels_ = {};
  run_levels_ = {};
  run_ends_ = {};
  for (int32_t i = 0; i < kMaxRuns; ++i) run_levels_[i].num_runs = i + 1;
  num_active_ = 0;
  num_active_runs_ = 0;
  run_starts_ = {};
  num_run_keys_ = 0;
  num_filled_ = 0;
  key_context_ = 0;
  target_size_ = kNoSize;
  num_wasted_table_steps_ = 0;
}

// Returns the next order of the ladder, chosen by measuring (bench/matcher_bench.cpp); kMaxOrder + 1 at its end.
int32_t KeyChains::order_above(int32_t order) const {
  static constexpr int32_t kBinary[] = {7,  8,  9,  10, 12, 14,  16,  18,  20,  22,   26,   32,
                                        40, 52, 64, 80, 96, 128, 160, 256, 512, 1024, 2048, kMaxOrder + 1};
  static constexpr int32_t kOthers[] = {1,  2,  3,  4,  5,  6,  7,  8,   9,   10,  12,   14,
                                        16, 20, 24, 32, 40, 64, 96, 160, 256, 512, 1024, kMaxOrder + 1};
  const auto next = [&](const auto& ladder) {
    return *std::upper_bound(std::begin(ladder), std::end(ladder) - 1, order);
  };
  return symbol_bits_ == 1 ? next(kBinary) : next(kOthers);
}

// Takes in the starts of the runs of all keys.
void KeyChains::extend_runs(const SymbolSequence& keys) {
  for (; num_run_keys_ < keys.size(); ++num_run_keys_) {
    if (num_run_keys_ == 0 || keys[num_run_keys_] != keys[num_run_keys_ - 1]) run_starts_.push_back(num_run_keys_);
  }
}

// Returns the index in run_starts_ of the run of `position`.
int32_t KeyChains::run_of(int32_t position) const {
  const int32_t* first = run_starts_.data();
  return static_cast<int32_t>(std::upper_bound(first, first + run_starts_.size(), position) - first) - 1;
}

// The same where few runs come after it.
int32_t KeyChains::run_of_last(int32_t position) const {
  auto run = static_cast<int32_t>(run_starts_.size()) - 1;
  while (run >= 0 && run_starts_[run] > position) --run;
  return run;
}

// Returns how many keys up to and including `position` are equal, at most `limit`.
int32_t KeyChains::run_at(const SymbolSequence& keys, int32_t position, int32_t limit) {
  constexpr int32_t kShort = 64;
  const auto compared = [&](int32_t most) {
    return 1 + keys.common_suffix(position, position - 1, std::min(position, most - 1));
  };
  const int32_t run = compared(std::min(limit, kShort));
  if (run < kShort || run == limit) return run;
  if (position < num_run_keys_) return std::min(limit, position - run_starts_[run_of(position)] + 1);
  const int32_t whole_run = compared(limit);
  num_steps_ += whole_run / kShort;
  return whole_run;
}

// Returns the length of the last `num_runs` runs up to and including `position`, which is of the given run, and the one
// key before them; 0 where there is none or that is more than kMaxOrder.
int32_t KeyChains::order_of_runs(int32_t position, int32_t run, int32_t num_runs) const {
  const int32_t start = run + 1 < num_runs ? 0 : run_starts_[run + 1 - num_runs];
  const int32_t order = position + 1 - start + 1;
  return start == 0 || order > kMaxOrder ? 0 : order;
}

// Returns the context that ends with the symbol searched.
uint64_t KeyChains::target_context(const SymbolSequence& keys, const Match& before, uint64_t symbol) {
  if (!has_tables()) return 0;
  // The search of the query before, if there was one, knows its symbols; else its match does.
  if (keys.size() != target_size_ + 1) {
    target_context_ = before.length > 0 ? keys.context(before.position, symbol_bits_) : 0;
  }
  target_context_ = target_context_ >> symbol_bits_ | symbol << (64 - symbol_bits_);
  target_size_ = keys.size();
  return target_context_;
}

Match KeyChains::search(const SymbolSequence& keys, const Match& before, uint64_t symbol) {
  if (keys.num_bits() > symbol_bits_) choose_orders(keys.num_bits());
  if (has_tables() && symbol >> symbol_bits_ != 0) {  // no key is so large
    target_size_ = kNoSize;
    return {};
  }
  ++num_searches_;
  ++num_steps_;
  fill(keys);
  if (num_active_runs_ > 0) extend_runs(keys);
  Target target{before, symbol, target_context(keys, before, symbol), 1};
  if (before.length > 0 && keys[before.position] == symbol) target.run += run_at(keys, before.position, before.length);
  const bool knows_runs = has_tables() && num_active_runs_ > 0;
  if (knows_runs) run_ends_.extend(keys);
  if (knows_runs && target.run == target.limit()) return run_ends_.search(symbol, target.limit());
  Match shorter;
  if (has_tables()) {
    shorter = tables_.search(target.context, target.limit());
    if (shorter.length < tables_.order() || shorter.length == target.limit()) return shorter;
  }
  Walks walks;
  int32_t enough = target.limit();
  for (int32_t i = list_walks(keys, target, walks) - 1; i >= 0; --i) {
    if (knows_runs && enough <= target.run) return run_ends_.search(symbol, enough);
    if (walks[i].level == nullptr && enough == walks[i].order) return shorter;
    const int64_t num_steps_before = num_steps_;
    const Match match = walk(walks[i], keys, target, enough);
    const bool is_spent_now = is_spent(keys.size());
    ask_for_next(walks[i], keys, target, num_steps_ - num_steps_before);
    if (match.length >= walks[i].order || is_spent_now) return match;
    enough = std::min(enough, walks[i].order - 1);
  }
  return {};
}

// Writes the chains that may hold the target, by order, ascending, and returns their number.
int32_t KeyChains::list_walks(const SymbolSequence& keys, const Target& target, Walks& walks) {
  int32_t num_walks = 0;
  if (has_tables()) walks[num_walks++] = {nullptr, tables_.order(), tables_.first(target.context)};
  const auto list = [&](Level& level, int32_t order, uint32_t hash) {
    int32_t place = num_walks++;
    for (; place > 0 && walks[place - 1].order > order; --place) walks[place] = walks[place - 1];
    const uint32_t head = hash >> (32 - level.head_bits);
    const bool is_empty =
        !level.filter.empty() && (level.filter[head] >> (hash << level.head_bits >> (32 - kFilterBits)) & 1) == 0;
    walks[place] = {&level, order, is_empty ? 0 : level.heads[head]};
  };
  for (int32_t i = 0; i < num_active_ && levels_[i].order <= target.limit(); ++i) {
    list(levels_[i], levels_[i].order, hash_of_target(levels_[i].order, target));
  }
  int32_t length = target.run;
  for (int32_t i = 0; i < num_active_runs_ && length < std::min(target.limit(), kMaxOrder); ++i) {
    fill_runs(run_levels_[i], keys);
    const uint32_t hash = hash_before(length, target.before.position) * kBase + value(target.symbol);
    list(run_levels_[i], length + 1, scattered(hash));
    length += run_at(keys, target.before.position + 1 - length, target.limit() - length);
  }
  return num_walks;
}

void KeyChains::extend_hashes(const SymbolSequence& keys, int32_t size) {
  if (hashes_.empty()) hashes_.push_back(0);
  for (auto i = static_cast<int32_t>(hashes_.size()) - 1; i < size; ++i) {
    hashes_.push_back(hashes_.back() * kBase + value(keys[i]));
  }
}

// Returns the hash of the `order` keys up to and including `position`, or of all up to it where there are not so many.
uint32_t KeyChains::hash_before(int32_t order, int32_t position) const {
  const uint32_t before = position + 1 > order ? hashes_[position + 1 - order] : 0;
  return hashes_[position + 1] - before * kPowers[order];
}

// Returns the hash of the `order` keys up to and including `position`, whose context is given.
uint32_t KeyChains::hash_of_key(int32_t order, uint64_t context, int32_t position) const {
  if (is_hashed_by_context(order)) return hash_of_context(context >> (64 - symbol_bits_ * order));
  return scattered(hash_before(order, position));
}

uint32_t KeyChains::hash_of_target(int32_t order, const Target& target) const {
  if (is_hashed_by_context(order)) return hash_of_context(target.context >> (64 - symbol_bits_ * order));
  return scattered(hash_before(order - 1, target.before.position) * kBase + value(target.symbol));
}

void KeyChains::enter(Level& level, uint32_t hash, int32_t position) {
  const uint32_t head = hash >> (32 - level.head_bits);
  if (!level.filter.empty())
    level.filter[head] |= static_cast<uint8_t>(1u << (hash << level.head_bits >> (32 - kFilterBits)));
  level.previous.push_back(level.heads[head]);
  level.heads[head] = static_cast<uint32_t>(position) + 1;
}

// Forgets the position entered last.
void KeyChains::take_back(Level& level, uint32_t hash, int32_t position) {
  const uint32_t head = hash >> (32 - level.head_bits);
  level.heads[head] = level.previous[position];
  // Else the filter may keep a bit too many.
  if (level.heads[head] == 0 && !level.filter.empty()) level.filter[head] = 0;
}

// Makes room for so many positions, also for none; returns whether what was entered is lost.
bool KeyChains::make_room(Level& level, int32_t size) {
  const bool is_new = level.heads.empty();
  if (!is_new && (static_cast<size_t>(size) <= level.heads.size() || level.head_bits == kMaxHeadBits)) return false;
  const auto size_bits = static_cast<int32_t>(std::bit_width(static_cast<uint32_t>(size)));
  level.head_bits = std::clamp(size_bits, kMinHeadBits, kMaxHeadBits);
  level.heads.assign(size_t{1} << level.head_bits, 0);
  // A filter costs a cache miss an entry: it is of use where most keys are searched for.
  const bool has_filter = level.num_runs == 0 && num_searches_ > size / 4;
  level.filter.assign(has_filter ? size_t{1} << level.head_bits : 0, 0);
  level.previous.clear();
  return true;
}

// Enters the keys that are filled already.
void KeyChains::enter_again(Level& level, const SymbolSequence& keys) {
  if (!is_hashed_by_context(level.order)) extend_hashes(keys, num_filled_);
  uint64_t context = 0;
  for (int32_t i = 0; i < num_filled_; ++i) {
    if (has_tables()) context = context >> symbol_bits_ | keys[i] << (64 - symbol_bits_);
    enter(level, hash_of_key(level.order, context, i), i);
  }
}

// Enters the keys that are not entered yet. One pass: a loop for each level would cost a mispredicted branch for each.
void KeyChains::fill(const SymbolSequence& keys) {
  const int32_t size = keys.size();
  if (has_tables()) {
    tables_.grow(keys, size);
    // The tables' contexts have become as long as the lowest levels'.
    const auto end = levels_.begin() + num_active_;
    const auto above = std::find_if(levels_.begin(), end, [&](const Level& l) { return l.order > tables_.order(); });
    if (above != levels_.begin()) {
      std::fill(std::move(above, end, levels_.begin()), end, Level{});
      num_active_ -= static_cast<int32_t>(above - levels_.begin());
    }
  } else if (num_active_ == 0) {
    add_level(order_above(0), keys);
  }
  for (int32_t k = 0; k < num_active_; ++k) {
    if (make_room(levels_[k], size)) enter_again(levels_[k], keys);
  }
  if (num_active_ > 0 && !is_hashed_by_context(levels_[num_active_ - 1].order)) extend_hashes(keys, size);
  for (int32_t i = num_filled_; i < size; ++i) {
    if (has_tables()) {
      key_context_ = key_context_ >> symbol_bits_ | keys[i] << (64 - symbol_bits_);
      tables_.enter(key_context_);
    }
    for (int32_t k = 0; k < num_active_; ++k) {
      enter(levels_[k], hash_of_key(levels_[k].order, key_context_, i), i);
    }
  }
  num_filled_ = size;
}

void KeyChains::fill_runs(Level& level, const SymbolSequence& keys) {
  make_room(level, keys.size());
  extend_hashes(keys, keys.size());
  // Some at once, so that the heads' cache misses come at once.
  constexpr int32_t kBatch = 16;
  std::array<uint32_t, kBatch> hashes;
  std::array<int32_t, kBatch> orders;
  const auto first = static_cast<int32_t>(level.previous.size());
  if (first == keys.size()) return;
  int32_t run = run_of_last(first);
  const auto num_runs = static_cast<int32_t>(run_starts_.size());
  for (int32_t begin = first; begin < keys.size(); begin += kBatch) {
    const int32_t end = std::min(begin + kBatch, keys.size());
    for (int32_t i = begin; i < end; ++i) {
      if (run + 1 < num_runs && run_starts_[run + 1] == i) ++run;
      const int32_t order = order_of_runs(i, run, level.num_runs);
      orders[i - begin] = order;
      hashes[i - begin] = order == 0 ? 0 : scattered(hash_before(order, i));
      __builtin_prefetch(&level.heads[hashes[i - begin] >> (32 - level.head_bits)], 1);
    }
    for (int32_t i = begin; i < end; ++i) {
      if (orders[i - begin] == 0) {
        level.previous.push_back(0);
      } else {
        enter(level, hashes[i - begin], i);
      }
    }
  }
}

// Returns how many runs the last `order` symbols of the target touch, or any number above `enough` where more do.
int32_t KeyChains::num_runs(const SymbolSequence& keys, const Target& target, int32_t order, int32_t enough) {
  int32_t count = 1;
  for (int32_t length = target.run; length < order && count <= enough; ++count) {
    length += run_at(keys, target.before.position + 1 - length, order - length);
  }
  num_steps_ += count / 8;
  return count;
}

// Adds a level once walks have wasted as much as that costs: one of more runs where runs were in the way, else one of
// higher order.
void KeyChains::ask_for_next(const Walk& walk, const SymbolSequence& keys, const Target& target, int64_t num_steps) {
  constexpr int32_t kLongRuns = 3;  // in the mean; shorter ones come by chance
  const int64_t short_walk = walk.level == nullptr ? 1 : 2;
  if (num_steps <= short_walk) return;
  const bool is_of_runs = walk.level != nullptr && walk.level->num_runs > 0;
  if (is_of_runs || kLongRuns * num_runs(keys, target, walk.order, walk.order / kLongRuns) <= walk.order) {
    if (num_active_runs_ < kMaxRuns) {
      num_wasted_run_steps_ += num_steps - short_walk;
      if (num_wasted_run_steps_ <= keys.size()) return;
      num_wasted_run_steps_ = 0;
      ++num_active_runs_;
      return;
    }
    if (is_of_runs) return;
  }
  const int64_t index = walk.level == nullptr ? -1 : walk.level - levels_.data();
  const int32_t order = order_above(walk.order);
  const bool is_next_of_use = order <= std::min(target.limit(), kMaxOrder) && num_active_ < kMaxLevels &&
                              (index + 1 == num_active_ || order < levels_[index + 1].order);
  if (!is_next_of_use) return;
  int64_t& num_wasted = walk.level == nullptr ? num_wasted_table_steps_ : walk.level->num_wasted_steps;
  num_wasted += num_steps - short_walk;
  if (num_wasted <= keys.size()) return;
  num_wasted = 0;
  add_level(order, keys);
}

void KeyChains::add_level(int32_t order, const SymbolSequence& keys) {
  int32_t place = num_active_++;
  for (; place > 0 && levels_[place - 1].order > order; --place) levels_[place] = std::move(levels_[place - 1]);
  Level& level = levels_[place];
  level = {};
  level.order = order;
  make_room(level, keys.size());
  enter_again(level, keys);
}

Match KeyChains::walk(const Walk& walk, const SymbolSequence& keys, const Target& target, int32_t enough) {
  const GrowingArray<uint32_t>& previous = walk.level == nullptr ? tables_.previous() : walk.level->previous;
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
    if (length == target.run) run = run_at(keys, position, position + 1);
    entry = run > target.run ? static_cast<uint32_t>(position - (run - target.run) + 1)
                             : previous[position - (run - walk.order)];
  }
  return best;
}

void KeyChains::rewind(const SymbolSequence& keys, int32_t size) {
  run_ends_.rewind(keys, size);
  for (Level& level : run_levels_) {
    auto i = static_cast<int32_t>(level.previous.size()) - 1;
    for (int32_t run = run_of_last(i); i >= size; --i) {
      while (run_starts_[run] > i) --run;
      const int32_t order = order_of_runs(i, run, level.num_runs);
      if (order > 0) take_back(level, scattered(hash_before(order, i)), i);
      level.previous.truncate(i);
    }
  }
  while (!run_starts_.empty() && run_starts_.back() >= size) run_starts_.truncate(run_starts_.size() - 1);
  num_run_keys_ = std::min(num_run_keys_, size);
  for (int32_t i = num_filled_ - 1; i >= size; --i) {
    const uint64_t context = has_tables() ? keys.context(i, symbol_bits_) : 0;
    if (has_tables()) tables_.take_back(context);
    for (int32_t k = 0; k < num_active_; ++k) {
      take_back(levels_[k], hash_of_key(levels_[k].order, context, i), i);
      levels_[k].previous.truncate(i);
    }
  }
  if (num_filled_ > size) {
    num_filled_ = size;
    key_context_ = has_tables() ? keys.context(size - 1, symbol_bits_) : 0;
  }
  allowed_steps_ += kStepsASymbol * (keys.size() - size);  // they were searched for, if no longer there
  target_size_ = kNoSize;
  if (hashes_.size() > static_cast<size_t>(size) + 1) hashes_.truncate(static_cast<size_t>(size) + 1);
}

size_t KeyChains::num_bytes() const {
  size_t num_bytes =
      sizeof(*this) + hashes_.num_bytes() + run_starts_.num_bytes() + tables_.num_bytes() + run_ends_.num_bytes();
  const auto add = [&](const Level& level) {
    num_bytes += level.heads.capacity() * sizeof(uint32_t) + level.filter.capacity() + level.previous.num_bytes();
  };
  for (const Level& level : levels_) add(level);
  for (const Level& level : run_levels_) add(level);
  return num_bytes;
}

}  // namespace rosa::automaton
