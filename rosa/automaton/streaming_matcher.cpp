#include "rosa/automaton/streaming_matcher.h"

#include "base/error.h"

namespace rosa::automaton {

Match StreamingMatcher::append(uint64_t query, uint64_t key) {
  base::require(size() < kMaxSize, "StreamingMatcher::append: the stream holds ", size(),
                " symbols, which is the most it can; start another StreamingMatcher");
  // No match can be longer than one more, and none of that length later: it would have been the latest one a step ago.
  const bool goes_on = match_.length > 0 && keys_[match_.position + 1] == query;
  Match found{match_.position + 1, match_.length + 1};
  if (!goes_on && !automaton_.has_value()) {
    found = chains_.search(keys_, match_, query);
    if (chains_.is_spent(keys_.size())) start_automaton();
  }
  if (automaton_.has_value()) {
    locus_ = automaton_->extend(locus_, query);
    if (locus_.length == 0) {
      found = {};
    } else if (!goes_on) {
      found = {automaton_->latest_end(locus_), locus_.length};
    }
    automaton_->append(key, locus_);
  }
  match_ = found;
  keys_.push_back(key);
  if (match_.length == 0) return {};
  return {static_cast<int32_t>(match_.position + document_start_), match_.length};
}

void StreamingMatcher::start_document() {
  const int64_t start = size();
  *this = {};
  document_start_ = start;
}

void StreamingMatcher::start_automaton() {
  automaton_.emplace();
  locus_ = {};
  for (const uint64_t key : keys_) automaton_->append(key, locus_);
  for (int32_t i = match_.position - match_.length + 1; i <= match_.position; ++i) {
    locus_ = automaton_->extend(locus_, keys_[i]);
  }
}

}  // namespace rosa::automaton
