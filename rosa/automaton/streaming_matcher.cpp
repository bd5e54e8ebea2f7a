#include "rosa/automaton/streaming_matcher.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::automaton {

Match StreamingMatcher::append(uint64_t query, uint64_t key) {
  base::require(size() < kMaxSize, "StreamingMatcher::append: the stream holds ", size(),
                " symbols, which is the most it can; start another StreamingMatcher");
  // No match can be longer than one more, and none of that length later: it would have been the latest one a step ago.
  const bool goes_on = match_.length > 0 && keys_[match_.position + 1] == query;
  Match found{match_.position + 1, match_.length + 1};
  if (!goes_on && !automaton_) {
    found = chains_.made().search(keys_, match_, query);
    if (chains_->is_spent(keys_.size())) start_automaton();
  }
  if (automaton_) {
    locus_ = automaton_->extend(locus_, query);
    if (locus_.length == 0) {
      found = {};
    } else if (!goes_on) {
      found = {automaton_->latest_end(locus_), locus_.length};
    }
    automaton_->append(key, locus_);
  }
  const bool stays_none = found.length == 0 && match_.length == 0;
  if (!goes_on && !(stays_none && keys_.size() > 0)) breaks_.push_back({keys_.size(), found});
  match_ = found;
  keys_.push_back(key);
  if (match_.length == 0) return {};
  return {static_cast<int32_t>(match_.position + document_start_), match_.length};
}

void StreamingMatcher::rewind(int64_t num_symbols) {
  base::require(num_symbols >= 0 && num_symbols <= keys_.size(), "StreamingMatcher::rewind: got ", num_symbols,
                " symbols, expected at most the ", keys_.size(), " of the current document");
  if (num_symbols == 0) return;
  const auto new_size = static_cast<int32_t>(keys_.size() - num_symbols);
  if (chains_) chains_->rewind(keys_, new_size);
  keys_.truncate(new_size);
  while (!breaks_.empty() && breaks_.back().time >= new_size) breaks_.truncate(breaks_.size() - 1);
  match_ = match_at(new_size - 1);
  if (automaton_) {
    // It cannot forget. The chains get the chance to do without another one.
    automaton_.reset();
    chains_->allow_more();
  }
}

void StreamingMatcher::start_document() {
  const int64_t start = size();
  *this = {};
  document_start_ = start;
}

size_t StreamingMatcher::num_bytes() const {
  return sizeof(*this) + keys_.num_bytes() + breaks_.num_bytes() + (chains_ ? chains_->num_bytes() : 0) +
         (automaton_ ? automaton_->num_bytes() : 0);
}

// Returns the match of the query of that time, which no break follows.
Match StreamingMatcher::match_at(int32_t time) const {
  if (breaks_.empty() || breaks_.back().match.length == 0) return {};
  const Break& last = breaks_.back();
  return {last.match.position + time - last.time, last.match.length + time - last.time};
}

void StreamingMatcher::start_automaton() {
  locus_ = {};
  OnlineAutomaton& automaton = automaton_.made();
  for (int32_t i = 0; i < keys_.size(); ++i) automaton.append(keys_[i], locus_);
  for (int32_t i = match_.position - match_.length + 1; i <= match_.position; ++i) {
    locus_ = automaton.extend(locus_, keys_[i]);
  }
}

}  // namespace rosa::automaton
