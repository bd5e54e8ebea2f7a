// StopText: the end of a text that comes piece by piece, where one of several texts stands in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rosa::launch {

class StopText {
 public:
  // None may be empty.
  explicit StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that is certain now: what may be the beginning of a stop text is held back. Nothing from the first stop
  // text on is returned, ever.
  std::string add(std::string_view piece);
  bool has_stopped() const { return has_stopped_; }
  // What was held back, and is no stop text since nothing follows.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool has_stopped_ = false;
};

}  // namespace rosa::launch
