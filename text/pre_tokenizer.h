// PreTokenizer: cuts a text into the pieces within which tokens are merged.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/pattern.h"
#include "text/unicode_stand_ins.h"

namespace rosa::text {

// What becomes of the matches of a pattern.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

// One step of a pre-tokenizer. Immutable; one for all threads.
class PreTokenizerStep {
 public:
  // A space before every piece that has none (byte-level's add_prefix_space).
  static PreTokenizerStep prefix_space();
  // `inverted`: what lies between the matches counts as matches.
  static PreTokenizerStep split(Pattern pattern, SplitBehavior behavior, bool inverted);

  bool is_prefix_space() const { return pattern_ == nullptr; }
  const Pattern& pattern() const { return *pattern_; }
  SplitBehavior behavior() const { return behavior_; }
  bool inverted() const { return inverted_; }

 private:
  std::shared_ptr<const Pattern> pattern_;
  SplitBehavior behavior_ = SplitBehavior::isolated;
  bool inverted_ = false;
};

// Applies steps to any number of texts, on one thread. Keeps a reference to the steps.
class PreTokenizer {
 public:
  explicit PreTokenizer(const std::vector<PreTokenizerStep>& steps);

  // Calls `use` with each piece of `text` (UTF-8), in order; none is empty. A piece lives as long as the call.
  template <class Use>
  void operator()(std::string_view text, const Use& use) {
    apply(0, text, use);
  }

 private:
  struct Range {
    size_t begin, end;
    bool is_match;
  };

  template <class Use>
  void apply(size_t step, std::string_view text, const Use& use);
  // The ranges of a text, matches and what lies between them.
  template <class Emit>
  void ranges(size_t step, std::string_view text, const Emit& emit);
  static std::vector<Range> merged(const std::vector<Range>& ranges, SplitBehavior behavior);

  const std::vector<PreTokenizerStep>& steps_;
  std::vector<std::unique_ptr<Pattern::Matches>> matches_;
};

template <class Use>
void PreTokenizer::apply(size_t step, std::string_view text, const Use& use) {
  if (text.empty()) return;
  if (step == steps_.size()) return use(text);
  const PreTokenizerStep& how = steps_[step];
  if (how.is_prefix_space()) {
    if (text.front() == ' ') return apply(step + 1, text, use);
    const std::string with_space = std::string(" ").append(text);
    return apply(step + 1, std::string_view(with_space), use);
  }
  if (how.behavior() == SplitBehavior::isolated) {
    ranges(step, text,
           [&](const Range& range) { apply(step + 1, text.substr(range.begin, range.end - range.begin), use); });
    return;
  }
  std::vector<Range> all;
  ranges(step, text, [&](const Range& range) { all.push_back(range); });
  for (const Range& range : merged(all, how.behavior())) {
    apply(step + 1, text.substr(range.begin, range.end - range.begin), use);
  }
}

template <class Emit>
void PreTokenizer::ranges(size_t step, std::string_view text, const Emit& emit) {
  const bool inverted = steps_[step].inverted();
  std::string buffer;
  const std::string_view subject = with_stand_ins(text, buffer);
  size_t last = 0, begin = 0, end = 0;
  bool has_match = false;
  for (size_t at = 0; at <= text.size() && matches_[step]->find(subject, at, &begin, &end);) {
    // An empty match right behind a match is none; the search goes on with the next character.
    if (begin == end && has_match && begin == last) {
      for (++at; at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0u) == 0x80;) ++at;
      continue;
    }
    if (begin > last) emit(Range{last, begin, inverted});
    emit(Range{begin, end, !inverted});
    has_match = true;
    at = last = end;
  }
  if (last < text.size()) emit(Range{last, text.size(), inverted});
}

}  // namespace rosa::text
