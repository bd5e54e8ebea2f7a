#include "launch/suite_display.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "launch/progress.h"
#include "launch/terminal_line.h"

namespace rosa::launch {

SuiteDisplay::SuiteDisplay(const Terminal& terminal) : terminal_(terminal), start_(Clock::now()), last_(start_) {}

SuiteDisplay::~SuiteDisplay() {
  if (terminal_.is_terminal) clear_terminal_line();
}

void SuiteDisplay::show(const std::string& task, int64_t done, int64_t total, const std::string& detail) {
  const Clock::time_point now = Clock::now();
  const double pause = terminal_.is_terminal ? 0.2 : 30.0;
  if (std::chrono::duration<double>(now - last_).count() < pause) return;
  last_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const std::string left =
      done > 0 ? duration_text(elapsed * static_cast<double>(total - done) / static_cast<double>(done)) : "?";
  const std::string text =
      base::concat(base::printable(task), ": ", done, " of ", total, " sequences, ETA ", left, detail);
  if (terminal_.is_terminal) {
    draw_terminal_line(text.substr(0, static_cast<size_t>(std::max(terminal_.num_columns - 1, 1))));
  } else {
    base::log_info(text);
  }
}

void SuiteDisplay::show(const training::SuitePlace& place) {
  const std::string detail = place.num_tokens > 0
                                 ? base::concat("; ", base::printable(place.variant), " has read ",
                                                count_text(static_cast<double>(place.num_tokens_done)), " of ",
                                                count_text(static_cast<double>(place.num_tokens)), " tokens")
                                 : std::string();
  show(place.task, place.done, place.total, detail);
}

}  // namespace rosa::launch
