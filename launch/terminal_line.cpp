#include "launch/terminal_line.h"

#include <algorithm>
#include <cstdio>
#include <mutex>

#include "base/error.h"
#include "base/log.h"

namespace rosa::launch {
namespace {

// From the cursor to the end of the screen.
constexpr const char* kClear = "\r\033[J";

std::mutex mutex;
std::string drawn;

void write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

// `text`, and the cursor back on its first line where there are several.
std::string parked(const std::string& text) {
  const auto num_ends = std::count(text.begin(), text.end(), '\n');
  return num_ends == 0 ? text : base::concat(text, "\r\033[", num_ends, "A");
}

}  // namespace

void draw_terminal_line(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (!base::console_is_open()) return;
  drawn = parked(text);
  write(kClear + drawn);
}

void clear_terminal_line() {
  const std::lock_guard lock(mutex);
  if (drawn.empty()) return;
  drawn.clear();
  write(kClear);
}

void write_above_terminal_line(const std::string& line) {
  const std::lock_guard lock(mutex);
  write((drawn.empty() ? "" : kClear) + line + "\n" + drawn);
}

}  // namespace rosa::launch
