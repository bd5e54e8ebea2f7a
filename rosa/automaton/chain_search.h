// ChainSearch: the fast way to match a document of byte symbols, within a budget of work.
//
// Short matches come from tables: for every order m up to the chains' lowest one, the latest position of each context
// of m symbols. That takes no branch that depends on the data, so that the CPU works on several positions at once.
//
// If the match of t - 1 has length L at position j, and key[j + 1] == query[t], the match of t is (L + 1, j + 1), the
// latest one included; and in any case L(t) <= L(t - 1) + 1. So a match as long as the tables' contexts is followed as
// far as it goes, and a search for a long one is needed only where such a run ends. It walks chains, as LZ77 match
// finders have them: for a ladder of orders m, all positions with the same (hash of the) last m symbols, latest first.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/byte_matching.h"
#include "rosa/automaton/chain_ladder.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/packed_symbols.h"
#include "rosa/automaton/prefix_hashes.h"
namespace rosa::automaton {

// Candidates looked at: so many a symbol are allowed before the automaton takes over.
inline constexpr int64_t kStepsASymbol = 8;
inline constexpr int64_t kFreeSteps = 2048;

// Where a search stopped: all before `position` is matched, and `match` is the match of position - 1, counted from the
// document's beginning.
struct MatchingProgress {
  int32_t position = 0;
  Match match;
};

// Index: an unsigned type that holds the document's size. kBits: those of the document.
template <class Simd, class Index, int32_t kBits>
class ChainSearch {
 public:
  ChainSearch(const ByteDocument& document, Workspace& workspace, MatchingWork& work);

  // Matches from the beginning to the end, or to where the budget is spent.
  MatchingProgress run();

 private:
  static constexpr int32_t kFirstTable = first_table_order(kBits);
  static constexpr int32_t kHighestTable = highest_table_order(kBits);

  // The chains of one order. Positions are stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t head_bits = 0;
    Index* heads = nullptr;
    Index* previous = nullptr;
  };

  // latest[m], m = kFirstTable ... the lowest order of the chains: of each context of m symbols the latest position
  // plus 1, or 0. Contexts with the same last symbols lie side by side.
  struct Tables {
    Index* latest[kHighestTable + 1] = {};
    Index* previous = nullptr;

    template <int32_t kOrder>
    void enter(int32_t position, uint64_t context) const;
    template <int32_t kOrder>
    Match search(int32_t t, uint64_t context) const;
    Match search_shorter(uint64_t context, int32_t limit) const;
  };

  static uint32_t exact_index(int32_t order, uint64_t context) {
    return static_cast<uint32_t>(context >> (64 - kBits * order));
  }
  uint32_t hashed_index(const Level& level, uint64_t context) const {
    const uint64_t symbols = context >> (64 - kBits * level.order);
    return static_cast<uint32_t>((symbols * 0x9E3779B97F4A7C15u) >> (64 - level.head_bits));
  }
  uint32_t head_of(int32_t level, uint64_t context, const PrefixHashes& hashes, int32_t position) const {
    if (level == 0) return exact_index(levels_[0].order, context);
    if (level < num_context_levels_) return hashed_index(levels_[level], context);
    return hashes.of_last(levels_[level].order, position) >> (32 - levels_[level].head_bits);
  }
  void enter(Level& level, uint32_t head, int32_t position) {
    level.previous[position] = level.heads[head];
    level.heads[head] = static_cast<Index>(position + 1);
  }
  void ask_for_next(int32_t t, int32_t limit, int64_t num_steps);
  void activate_next();
  void fill(int32_t end);
  template <int32_t kOrder = kFirstTable>
  int32_t run_short(int32_t t, Match& match);
  bool search_long(int32_t t, uint64_t context, int32_t limit, Match& match);
  Match walk(const Level& level, int32_t t, uint32_t head, uint64_t context, int32_t limit, int32_t enough);
  void write_run(int32_t t, int32_t count, const Match& first);

  const ByteDocument& document_;
  MatchingWork& work_;
  const uint8_t* packed_query_;
  const uint8_t* packed_key_;
  PrefixHashes query_hashes_;
  PrefixHashes key_hashes_;
  Tables tables_;
  int32_t num_tabled_ = 0;  // the positions entered into the tables
  int32_t num_levels_ = 0;
  int32_t num_context_levels_ = 0;  // the levels whose contexts fit one word; those of the others are hashed by prefix
  int32_t num_active_ = 1;          // the others are not filled
  int32_t num_filled_ = 0;          // the positions entered into the active levels but the lowest
  Level levels_[kMaxNumOrders];     // the lowest is that of the tables
  int64_t num_steps_ = 0;
  int64_t num_wasted_steps_ = 0;
  int64_t max_steps_ = 0;  // the budget at the position searched
};

template <class Simd, class Index, int32_t kBits>
ChainSearch<Simd, Index, kBits>::ChainSearch(const ByteDocument& document, Workspace& workspace, MatchingWork& work)
    : document_(document),
      work_(work),
      packed_query_(pack_symbols<Simd>(document.query, document.size, kBits, workspace)),
      packed_key_(pack_symbols<Simd>(document.key, document.size, kBits, workspace)),
      query_hashes_(document.query, document.size, workspace),
      key_hashes_(document.key, document.size, workspace) {
  const ChainLadder ladder = chain_ladder(document.size, kBits);
  num_levels_ = ladder.num_orders;
  for (int32_t i = 0; i < num_levels_; ++i) {
    levels_[i].order = ladder.orders[i];
    levels_[i].head_bits = ladder.head_bits[i];
    levels_[i].heads = workspace.take_items<Index>(size_t{1} << ladder.head_bits[i]);
    levels_[i].previous = workspace.take_items<Index>(document.size);
    if (ladder.orders[i] * kBits <= kMaxContextBits) num_context_levels_ = i + 1;
  }
  tables_.previous = levels_[0].previous;
  for (int32_t order = kFirstTable; order <= levels_[0].order; ++order) {
    const size_t num_contexts = size_t{1} << (kBits * order);
    tables_.latest[order] = order == levels_[0].order ? levels_[0].heads : workspace.take_items<Index>(num_contexts);
    std::memset(tables_.latest[order], 0, sizeof(Index) * num_contexts);
  }
}

template <class Simd, class Index, int32_t kBits>
MatchingProgress ChainSearch<Simd, Index, kBits>::run() {
  const int32_t size = document_.size;
  Match match;
  int32_t t = 0;
  while (t < size) {
    t = run_short(t, match);
    if (t == size) break;
    const uint64_t context = context_before(packed_query_, t, kBits);
    Match found;
    if (!search_long(t, context, match.length + 1, found)) break;
    const int32_t count =
        1 + Simd::common_prefix(document_.query + t + 1, document_.key + found.position + 1, size - t - 1);
    write_run(t, count, found);
    match = {found.position + count - 1, found.length + count - 1};
    t += count;
  }
  work_.num_steps += num_steps_;
  return {t, match};
}

// Matches from t on as long as the tables suffice, and returns where they do not. What is stored could be members, as
// far as the compiler knows: hence the local copies.
template <class Simd, class Index, int32_t kBits>
template <int32_t kOrder>
int32_t ChainSearch<Simd, Index, kBits>::run_short(int32_t t, Match& match) {
  if constexpr (kOrder < kHighestTable) {
    if (levels_[0].order != kOrder) return run_short<kOrder + 1>(t, match);
  }
  const int32_t size = document_.size;
  const int32_t first_position = document_.first_position;
  const uint8_t* const query = packed_query_;
  const uint8_t* const key = packed_key_;
  int32_t* const positions = document_.positions;
  int32_t* const lengths = document_.lengths;
  const Tables tables = tables_;
  for (; num_tabled_ < t; ++num_tabled_)
    tables.template enter<kOrder>(num_tabled_, context_before(key, num_tabled_, kBits));
  while (t < size) {
    const Match found = tables.template search<kOrder>(t, context_before(query, t, kBits));
    if (found.length == kOrder) break;
    positions[t] = found.position < 0 ? -1 : found.position + first_position;
    if (lengths != nullptr) lengths[t] = found.length;
    match = found;
    tables.template enter<kOrder>(t, context_before(key, t, kBits));
    ++t;
  }
  num_tabled_ = t;
  return t;
}

// Makes one more level active once walks of the highest one have wasted as much as that would have cost.
template <class Simd, class Index, int32_t kBits>
void ChainSearch<Simd, Index, kBits>::ask_for_next(int32_t t, int32_t limit, int64_t num_steps) {
  constexpr int64_t kShortWalk = 4;
  if (num_steps <= kShortWalk || num_active_ == num_levels_ || levels_[num_active_].order > limit) return;
  num_wasted_steps_ += num_steps - kShortWalk;
  if (num_wasted_steps_ <= t) return;
  num_wasted_steps_ = 0;
  activate_next();
}

// Makes one more level active, and enters into it what the others hold.
template <class Simd, class Index, int32_t kBits>
void ChainSearch<Simd, Index, kBits>::activate_next() {
  const int32_t index = num_active_++;
  Level& level = levels_[index];
  std::memset(level.heads, 0, sizeof(Index) << level.head_bits);
  if (index >= num_context_levels_) key_hashes_.extend(num_filled_);
  for (int32_t i = 0; i < num_filled_; ++i) {
    enter(level, head_of(index, context_before(packed_key_, i, kBits), key_hashes_, i), i);
  }
}

// Enters the positions before `end` into the active levels but the lowest. One pass: a loop for each level would cost a
// mispredicted branch for each.
template <class Simd, class Index, int32_t kBits>
void ChainSearch<Simd, Index, kBits>::fill(int32_t end) {
  const int32_t num_from_context = std::min(num_active_, num_context_levels_);
  if (num_active_ > num_context_levels_) key_hashes_.extend(end);
  for (int32_t i = num_filled_; num_active_ > 1 && i < end; ++i) {
    const uint64_t context = context_before(packed_key_, i, kBits);
    for (int32_t k = 1; k < num_from_context; ++k) enter(levels_[k], hashed_index(levels_[k], context), i);
    for (int32_t k = num_context_levels_; k < num_active_; ++k) {
      enter(levels_[k], head_of(k, context, key_hashes_, i), i);
    }
  }
  num_filled_ = end;
}

template <class Simd, class Index, int32_t kBits>
template <int32_t kOrder>
void ChainSearch<Simd, Index, kBits>::Tables::enter(int32_t position, uint64_t context) const {
  const auto entry = static_cast<Index>(position + 1);
  Index& head = latest[kOrder][exact_index(kOrder, context)];
  previous[position] = head;
  head = entry;
#pragma GCC unroll 16
  for (int32_t m = kFirstTable; m < kOrder; ++m) latest[m][exact_index(m, context)] = entry;
}

// Returns the longest, then latest match of at most kOrder symbols.
template <class Simd, class Index, int32_t kBits>
template <int32_t kOrder>
Match ChainSearch<Simd, Index, kBits>::Tables::search(int32_t t, uint64_t context) const {
  int32_t length = kFirstTable - 1;
#pragma GCC unroll 16
  for (int32_t m = kFirstTable; m <= kOrder; ++m) {
    // Before position m - 1 the context begins with padding. Such entries are older than any other.
    length += latest[m][exact_index(m, context)] >= static_cast<uint32_t>(m) ? 1 : 0;
  }
  if (length < kFirstTable || length > t + 1) [[unlikely]] {
    return search_shorter(context, std::min(length, t + 1));
  }
  return {static_cast<int32_t>(latest[length][exact_index(length, context)]) - 1, length};
}

// As search(), of at most `limit` symbols; also for matches that are shorter than the contexts of any table.
template <class Simd, class Index, int32_t kBits>
Match ChainSearch<Simd, Index, kBits>::Tables::search_shorter(uint64_t context, int32_t limit) const {
  for (int32_t m = limit; m > 0; --m) {
    const int32_t order = std::max(m, kFirstTable);
    const uint32_t width = 1u << (kBits * (order - m));
    const Index* first = latest[order] + exact_index(m, context) * width;
    const Index entry = *std::max_element(first, first + width);
    if (entry >= static_cast<uint32_t>(m)) return {static_cast<int32_t>(entry) - 1, m};
  }
  return {};
}

// Finds the match of t, which has at least as many symbols as the lowest order and at most `limit`. Returns false where
// the budget is spent.
template <class Simd, class Index, int32_t kBits>
bool ChainSearch<Simd, Index, kBits>::search_long(int32_t t, uint64_t context, int32_t limit, Match& match) {
  ++work_.num_searches;
  fill(t);
  max_steps_ = kStepsASymbol * t + kFreeSteps;
  if (num_active_ > num_context_levels_) query_hashes_.extend(t + 1);
  int32_t enough = limit;
  for (int32_t i = num_active_ - 1; i >= 0; --i) {
    const Level& level = levels_[i];
    if (level.order > limit) continue;
    const int64_t num_steps_before = num_steps_;
    match = walk(level, t, head_of(i, context, query_hashes_, t), context, limit, enough);
    if (num_steps_ > max_steps_) return false;
    if (i == num_active_ - 1) ask_for_next(t, limit, num_steps_ - num_steps_before);
    if (match.length >= level.order) break;
    enough = std::min(enough, level.order - 1);
  }
  return true;
}

// Returns the longest, then latest match of the chain, of at most `limit` symbols; `enough`: none is longer.
template <class Simd, class Index, int32_t kBits>
Match ChainSearch<Simd, Index, kBits>::walk(const Level& level, int32_t t, uint32_t head, uint64_t context,
                                            int32_t limit, int32_t enough) {
  Match best;
  for (uint32_t entry = level.heads[head]; entry != 0; entry = level.previous[entry - 1]) {
    const auto position = static_cast<int32_t>(entry) - 1;
    const uint64_t difference = context ^ context_before(packed_key_, position, kBits);
    const int32_t most = std::min(limit, position + 1);
    int32_t length = std::min(std::countl_zero(difference) / kBits, most);
    ++num_steps_;
    if (std::countl_zero(difference) >= kMaxContextBits && most > kMaxContextBits / kBits) {
      length = Simd::common_suffix(document_.query + t, document_.key + position, most);
      num_steps_ += length >> 6;
    }
    if (length > best.length) {
      best = {position, length};
      if (length >= enough) break;
    }
    if (num_steps_ > max_steps_) break;
  }
  return best;
}

// Writes `count` matches, each the one before it gone on. May write up to 15 places too many, which come later.
template <class Simd, class Index, int32_t kBits>
void ChainSearch<Simd, Index, kBits>::write_run(int32_t t, int32_t count, const Match& first) {
  const int32_t position = first.position + document_.first_position;
  const int32_t length = first.length;
  int32_t done = 0;
  for (; done < count && t + done + 16 <= document_.size; done += 16) {
    Simd::write_16_ascending(document_.positions + t + done, position + done);
    if (document_.lengths != nullptr) Simd::write_16_ascending(document_.lengths + t + done, length + done);
  }
  for (; done < count; ++done) {
    document_.positions[t + done] = position + done;
    if (document_.lengths != nullptr) document_.lengths[t + done] = length + done;
  }
}

}  // namespace rosa::automaton
