#include "text/pre_tokenizer.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace rosa::text {

PreTokenizerStep PreTokenizerStep::prefix_space() { return {}; }

PreTokenizerStep PreTokenizerStep::split(Pattern pattern, SplitBehavior behavior, bool inverted) {
  PreTokenizerStep step;
  step.pattern_ = std::make_shared<const Pattern>(std::move(pattern));
  step.behavior_ = behavior;
  step.inverted_ = inverted;
  return step;
}

PreTokenizer::PreTokenizer(const std::vector<PreTokenizerStep>& steps) : steps_(steps) {
  for (const PreTokenizerStep& step : steps) {
    matches_.push_back(step.is_prefix_space() ? nullptr : std::make_unique<Pattern::Matches>(step.pattern()));
  }
}

std::vector<PreTokenizer::Range> PreTokenizer::merged(const std::vector<Range>& ranges, SplitBehavior behavior) {
  std::vector<Range> result;
  bool last_is_match = false;
  switch (behavior) {
    case SplitBehavior::isolated:
      return ranges;
    case SplitBehavior::removed:
      std::copy_if(ranges.begin(), ranges.end(), std::back_inserter(result),
                   [](const Range& range) { return !range.is_match; });
      return result;
    case SplitBehavior::merged_with_previous:
      for (const Range& range : ranges) {
        const bool joins = range.is_match && !last_is_match && !result.empty();
        if (joins) {
          result.back().end = range.end;
        } else {
          result.push_back(range);
        }
        last_is_match = range.is_match;
      }
      return result;
    case SplitBehavior::merged_with_next:
      for (auto range = ranges.rbegin(); range != ranges.rend(); ++range) {
        const bool joins = range->is_match && !last_is_match && !result.empty();
        if (joins) {
          result.back().begin = range->begin;
        } else {
          result.push_back(*range);
        }
        last_is_match = range->is_match;
      }
      std::reverse(result.begin(), result.end());
      return result;
    case SplitBehavior::contiguous:
      for (const Range& range : ranges) {
        if (range.is_match == last_is_match && !result.empty()) {
          result.back().end = range.end;
        } else {
          result.push_back(range);
        }
        last_is_match = range.is_match;
      }
      return result;
  }
  return result;
}

}  // namespace rosa::text
