#include "rosa/automaton/streaming_matcher.h"

#include "base/error.h"

namespace rosa::automaton {

Match StreamingMatcher::append(uint64_t query, uint64_t key) {
  base::require(size() < kMaxSize, "StreamingMatcher::append: the stream holds ", size(),
                " symbols, which is the most it can; start another StreamingMatcher");
  locus_ = automaton_.extend(locus_, query);
  if (locus_.length == 0) {
    match_ = {};
  } else if (match_.length > 0 && keys_[match_.position + 1] == query) {
    // No match can be longer, and none of this length later: it would have been the latest one a step ago.
    match_ = {match_.position + 1, match_.length + 1};
  } else {
    match_ = {automaton_.latest_end(locus_), locus_.length};
  }
  automaton_.append(key, locus_);
  keys_.push_back(key);
  if (match_.length == 0) return {};
  return {static_cast<int32_t>(match_.position + document_start_), match_.length};
}

void StreamingMatcher::start_document() {
  document_start_ = size();
  keys_ = {};
  automaton_ = {};
  locus_ = {};
  match_ = {};
}

}  // namespace rosa::automaton
