#include "launch/terminal_line.h"

#include <cstdio>
#include <mutex>

#include "base/log.h"

namespace rosa::launch {
namespace {

constexpr const char* kClear = "\r\033[K";

std::mutex mutex;
std::string drawn;

void write(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

void draw_terminal_line(const std::string& text) {
  const std::lock_guard lock(mutex);
  if (!base::console_is_open()) return;
  drawn = text;
  write(kClear + text);
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
