// ChainSearch: the fast way to match a document of byte symbols, within a budget of work.
//
// If the match of t - 1 has length L at position j, and key[j + 1] == query[t], the match of t is (L + 1, j + 1), the
// latest one included; and in any case L(t) <= L(t - 1) + 1. So a search is needed only where a match breaks. It walks
// chains, as LZ77 match finders have them: for a ladder of orders m, all positions with the same (hash of the) last m
// symbols, latest first. For every order up to the lowest of the ladder there is an exact table of the latest position.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

#include "rosa/automaton/byte_matching.h"
#include "rosa/automaton/match.h"
#include "rosa/automaton/packed_symbols.h"

namespace rosa::automaton {

inline constexpr int32_t kMaxNumOrders = 5;
inline constexpr int32_t kMaxLowestOrder = 16;
// Candidates looked at: so many a symbol are allowed before the automaton takes over.
inline constexpr int64_t kStepsASymbol = 6;
inline constexpr int64_t kFreeSteps = 2048;

// Half the memory is worth a second copy of the code: chains are bound by cache misses.
inline constexpr int32_t kMaxShortDocument = 1 << 16;
inline size_t chain_index_bytes(int32_t size) {
  return size <= kMaxShortDocument ? sizeof(uint16_t) : sizeof(uint32_t);
}

// The orders of the chains, ascending, and the sizes of the tables of their latest positions.
struct ChainLadder {
  int32_t num_orders = 0;
  int32_t orders[kMaxNumOrders] = {};
  int32_t head_bits[kMaxNumOrders] = {};

  size_t workspace_bytes(int32_t size) const;
};

// Returns the ladder for a document. orders * bits <= kMaxContextBits.
ChainLadder chain_ladder(int32_t size, int32_t bits);

// Where a search stopped: all before `position` is matched, and `match` is the match of position - 1, counted from the
// document's beginning.
struct MatchingProgress {
  int32_t position = 0;
  Match match;
};

// Index: an unsigned type that holds the document's size.
template <class Simd, class Index>
class ChainSearch {
 public:
  ChainSearch(const ByteDocument& document, Workspace& workspace, MatchingWork& work);

  // Matches from the beginning to the end, or to where the budget is spent.
  MatchingProgress run();

 private:
  // The chains of one order. Positions are stored plus 1; 0 ends a chain.
  struct Level {
    int32_t order = 0;
    int32_t head_bits = 0;
    Index* heads = nullptr;
    Index* previous = nullptr;
  };

  bool is_spent(int32_t t) const { return num_steps_ > kStepsASymbol * t + kFreeSteps; }
  uint32_t exact_index(int32_t order, uint64_t context) const {
    return static_cast<uint32_t>(context >> (64 - document_.bits * order));
  }
  uint32_t hashed_index(const Level& level, uint64_t context) const {
    const uint64_t symbols = context >> (64 - document_.bits * level.order);
    return static_cast<uint32_t>((symbols * 0x9E3779B97F4A7C15u) >> (64 - level.head_bits));
  }
  void enter(Level& level, uint32_t head, int32_t position) {
    level.previous[position] = level.heads[head];
    level.heads[head] = static_cast<Index>(position + 1);
  }
  void activate(int32_t limit);
  void fill(int32_t end);
  Match walk(const Level& level, int32_t t, uint32_t head, int32_t limit, int32_t enough);
  Match walk_in_context(const Level& level, int32_t t, uint32_t head, uint64_t context, int32_t limit, int32_t enough);
  bool search(int32_t t, int32_t limit, Match& match);
  Match search_short(uint64_t context, int32_t limit);
  void write_run(int32_t t, int32_t count, const Match& first);

  const ByteDocument& document_;
  MatchingWork& work_;
  const uint8_t* packed_query_;
  const uint8_t* packed_key_;
  int32_t num_levels_ = 0;
  int32_t num_active_ = 1;  // the levels that some search has asked for; the others are not filled
  int32_t num_filled_ = 0;  // the positions entered into the active levels
  Level levels_[kMaxNumOrders];
  // latest_[m]: of each context of m symbols the latest position plus 1, or 0. The last is levels_[0].heads.
  Index* latest_[kMaxLowestOrder + 1] = {};
  int64_t num_steps_ = 0;
};

template <class Simd, class Index>
ChainSearch<Simd, Index>::ChainSearch(const ByteDocument& document, Workspace& workspace, MatchingWork& work)
    : document_(document),
      work_(work),
      packed_query_(pack_symbols<Simd>(document.query, document.size, document.bits, workspace)),
      packed_key_(pack_symbols<Simd>(document.key, document.size, document.bits, workspace)) {
  const ChainLadder ladder = chain_ladder(document.size, document.bits);
  num_levels_ = ladder.num_orders;
  for (int32_t i = 0; i < num_levels_; ++i) {
    levels_[i].order = ladder.orders[i];
    levels_[i].head_bits = ladder.head_bits[i];
    levels_[i].heads = workspace.take_items<Index>(size_t{1} << ladder.head_bits[i]);
    levels_[i].previous = workspace.take_items<Index>(document.size);
  }
  for (int32_t order = 1; order <= levels_[0].order; ++order) {
    const size_t num_contexts = size_t{1} << (document.bits * order);
    latest_[order] = order == levels_[0].order ? levels_[0].heads : workspace.take_items<Index>(num_contexts);
    std::memset(latest_[order], 0, sizeof(Index) * num_contexts);
  }
}

template <class Simd, class Index>
MatchingProgress ChainSearch<Simd, Index>::run() {
  const int32_t size = document_.size;
  Match match;
  int32_t t = 0;
  int64_t num_searches = 0;
  while (t < size) {
    ++num_searches;
    Match found;
    if (!search(t, match.length + 1, found)) break;
    if (found.length == 0) {
      match = {};
      document_.positions[t] = -1;
      if (document_.lengths != nullptr) document_.lengths[t] = 0;
      ++t;
      continue;
    }
    int32_t count = 1;
    // A branch, not a sum: where matches rarely go on, it lets the CPU look at the next symbols meanwhile.
    if (document_.query[t + 1] == document_.key[found.position + 1]) {
      count += Simd::common_prefix(document_.query + t + 1, document_.key + found.position + 1, size - t - 1);
      write_run(t, count, found);
    } else {
      document_.positions[t] = found.position + document_.first_position;
      if (document_.lengths != nullptr) document_.lengths[t] = found.length;
    }
    match = {found.position + count - 1, found.length + count - 1};
    t += count;
  }
  work_.num_searches += num_searches;
  work_.num_steps += num_steps_;
  return {t, match};
}

// Makes the levels active that a search of at most `limit` symbols asks for. All active levels are filled in one pass:
// a loop for each would cost a mispredicted branch for each.
template <class Simd, class Index>
void ChainSearch<Simd, Index>::activate(int32_t limit) {
  while (num_active_ < num_levels_ && levels_[num_active_].order <= limit) {
    Level& level = levels_[num_active_++];
    std::memset(level.heads, 0, sizeof(Index) << level.head_bits);
    for (int32_t i = 0; i < num_filled_; ++i) {
      enter(level, hashed_index(level, context_before(packed_key_, i, document_.bits)), i);
    }
  }
}

// Enters the positions before `end` into the active levels.
template <class Simd, class Index>
void ChainSearch<Simd, Index>::fill(int32_t end) {
  for (int32_t i = num_filled_; i < end; ++i) {
    const uint64_t context = context_before(packed_key_, i, document_.bits);
    enter(levels_[0], exact_index(levels_[0].order, context), i);
    for (int32_t m = 1; m < levels_[0].order; ++m) latest_[m][exact_index(m, context)] = static_cast<Index>(i + 1);
    for (int32_t k = 1; k < num_active_; ++k) enter(levels_[k], hashed_index(levels_[k], context), i);
  }
  num_filled_ = end;
}

// Returns the longest, then latest match of the chain, of at most `limit` symbols; `enough`: none is longer.
template <class Simd, class Index>
Match ChainSearch<Simd, Index>::walk(const Level& level, int32_t t, uint32_t head, int32_t limit, int32_t enough) {
  Match best;
  for (uint32_t entry = level.heads[head]; entry != 0; entry = level.previous[entry - 1]) {
    const auto position = static_cast<int32_t>(entry) - 1;
    const int32_t length =
        Simd::common_suffix(document_.query + t, document_.key + position, std::min(position + 1, limit));
    num_steps_ += 1 + (length >> 6);
    if (length > best.length) {
      best = {position, length};
      if (length >= enough) break;
    }
    if (is_spent(t)) break;
  }
  return best;
}

// As walk(), for limits that a context holds: one load and one comparison a candidate.
template <class Simd, class Index>
Match ChainSearch<Simd, Index>::walk_in_context(const Level& level, int32_t t, uint32_t head, uint64_t context,
                                                int32_t limit, int32_t enough) {
  const int32_t log_bits = std::countr_zero(static_cast<uint32_t>(document_.bits));
  Match best;
  for (uint32_t entry = level.heads[head]; entry != 0; entry = level.previous[entry - 1]) {
    const auto position = static_cast<int32_t>(entry) - 1;
    const uint64_t difference = context ^ context_before(packed_key_, position, document_.bits);
    const int32_t length = std::min({std::countl_zero(difference) >> log_bits, limit, position + 1});
    ++num_steps_;
    if (length > best.length) {
      best = {position, length};
      if (length >= enough) break;
    }
    if (is_spent(t)) break;
  }
  return best;
}

// Finds the match of t, of at most `limit` symbols. Returns false where the budget is spent.
template <class Simd, class Index>
bool ChainSearch<Simd, Index>::search(int32_t t, int32_t limit, Match& match) {
  if (is_spent(t)) return false;
  const uint64_t context = context_before(packed_query_, t, document_.bits);
  activate(limit);
  fill(t);
  int32_t enough = limit;
  for (int32_t i = num_active_ - 1; i >= 0; --i) {
    const Level& level = levels_[i];
    if (level.order > limit) continue;
    if (i == 0 && enough == level.order) break;  // the search below finds the latest at once
    const uint32_t head = i > 0 ? hashed_index(level, context) : exact_index(level.order, context);
    match = limit * document_.bits < kMaxContextBits ? walk_in_context(level, t, head, context, limit, enough)
                                                     : walk(level, t, head, limit, enough);
    if (is_spent(t)) return false;
    if (match.length >= level.order) return true;
    enough = std::min(enough, level.order - 1);
  }
  match = search_short(context, enough);
  return true;
}

// Returns the longest, then latest match of at most `limit` symbols, not more than the lowest order.
template <class Simd, class Index>
Match ChainSearch<Simd, Index>::search_short(uint64_t context, int32_t limit) {
  for (int32_t length = limit; length >= 1; --length) {
    // Before position length - 1 the context begins with padding. Such entries are older than any other.
    const uint32_t latest = latest_[length][exact_index(length, context)];
    if (latest >= static_cast<uint32_t>(length)) return {static_cast<int32_t>(latest) - 1, length};
  }
  return {};
}

// Writes `count` matches, each the one before it gone on. May write up to 15 places too many, which come later.
template <class Simd, class Index>
void ChainSearch<Simd, Index>::write_run(int32_t t, int32_t count, const Match& first) {
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
