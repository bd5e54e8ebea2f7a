#include "launch/stop_text.h"

#include <algorithm>
#include <utility>

namespace rosa::launch {

std::string StopText::add(std::string_view piece) {
  if (has_stopped_) return {};
  held_ += piece;
  size_t first = std::string::npos, kept = 0;
  for (const std::string& stop : stops_) {
    first = std::min(first, held_.find(stop));
    // The longest end of the text that a stop text begins with.
    for (size_t size = std::min(stop.size() - 1, held_.size()); size > kept; --size) {
      if (std::string_view(held_).substr(held_.size() - size) == std::string_view(stop).substr(0, size)) kept = size;
    }
  }
  if (first != std::string::npos) {
    has_stopped_ = true;
    held_.resize(first);
    return std::exchange(held_, {});
  }
  std::string certain = held_.substr(0, held_.size() - kept);
  held_.erase(0, held_.size() - kept);
  return certain;
}

std::string StopText::finish() { return std::exchange(held_, {}); }

}  // namespace rosa::launch
