#include "rosa/automaton/streaming_matcher.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::automaton {

Match StreamingMatcher::append(uint64_t query, uint64_t key) {
  base::require(size() < kMaxSize, "StreamingMatcher::append: the stream holds ", size(),
                " symbols, which is the most it can; start another StreamingMatcher");
  // No match can be longer than one more, and none of that length later: it would have been the latest one a step ago.
  const bool goes_on = match_.length > 0 && keys_[match_.position + 1] == query;
  const Match found = goes_on ? Match{match_.position + 1, match_.length + 1} : search(query);
  const bool stays_none = found.length == 0 && match_.length == 0;
  if (!goes_on && !(stays_none && keys_.size() > 0)) breaks_.push_back({keys_.size(), found});
  match_ = found;
  keys_.push_back(key);
  if (match_.length == 0) return {};
  return {static_cast<int32_t>(match_.position + document_start_), match_.length};
}

// Returns the match of a query that the match before it does not lead to.
Match StreamingMatcher::search(uint64_t query) {
  if (!order_) {
    const Match found = chains_.made().search(keys_, match_, query);
    if (!chains_->is_spent(keys_.size())) return found;
    num_spent_steps_ += chains_->num_steps();
    chains_.reset();
  }
  return order_.made().search(keys_, match_, query);
}

uint32_t StreamingMatcher::count_places(const SymbolSequence& values, std::span<uint32_t> sums) {
  base::require(values.size() >= size() && !sums.empty() && sums.size() <= 64, "StreamingMatcher::count_places: got ",
                values.size(), " values and room for ", sums.size(), " sums, expected at least the ", size(),
                " values of the stream and 1 to 64 sums");
  return places_.made().count(keys_, match_, {values, document_start_, static_cast<int32_t>(sums.size())}, sums);
}

void StreamingMatcher::rewind(int64_t num_symbols) {
  base::require(num_symbols >= 0 && num_symbols <= keys_.size(), "StreamingMatcher::rewind: got ", num_symbols,
                " symbols, expected at most the ", keys_.size(), " of the current document");
  if (num_symbols == 0) return;
  const auto new_size = static_cast<int32_t>(keys_.size() - num_symbols);
  if (chains_) chains_->rewind(keys_, new_size);
  if (order_) order_->rewind(new_size);
  if (places_) places_->rewind(keys_, new_size);
  keys_.truncate(new_size);
  while (!breaks_.empty() && breaks_.back().time >= new_size) breaks_.truncate(breaks_.size() - 1);
  match_ = match_at(new_size - 1);
}

void StreamingMatcher::start_document() {
  const int64_t start = size();
  *this = {};
  document_start_ = start;
}

size_t StreamingMatcher::num_bytes() const {
  return sizeof(*this) + keys_.num_bytes() + breaks_.num_bytes() + (chains_ ? chains_->num_bytes() : 0) +
         (order_ ? order_->num_bytes() : 0) + (places_ ? places_->num_bytes() : 0);
}

// Returns the match of the query of that time, which no break follows.
Match StreamingMatcher::match_at(int32_t time) const {
  if (breaks_.empty() || breaks_.back().match.length == 0) return {};
  const Break& last = breaks_.back();
  return {last.match.position + time - last.time, last.match.length + time - last.time};
}

}  // namespace rosa::automaton
