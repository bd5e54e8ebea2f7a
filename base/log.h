// The program's log: lines with time, level and rank, to stderr and to a file of this rank. Any thread may log.
// Before start_log() lines go to stderr without a rank.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace rosa::base {

struct LogOptions {
  int rank = 0;
  int world_size = 1;           // above 1 every line names the rank
  std::filesystem::path file;   // appended to; empty: no file
  bool info_to_console = true;  // false (ranks other than 0): only warnings and errors reach the console
  // Asked before each line for the console; from the first yes on nothing goes there. Another process has said the last
  // words then.
  std::function<bool()> console_is_closed;
  // Takes the place of stderr, for instance to draw a progress bar around the lines (they end without a newline).
  std::function<void(const std::string& line)> console;
};

// Sets where lines go from now on; may be called again. Throws FileError where the file can't be opened.
void start_log(const LogOptions& options);

// A text is one line: line ends and control characters in it are written visibly (base/printable.h).
void log_info(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

// The last words of a program that fails: the console gets `text` alone, which may be a list of several lines, the file
// one error line, and whatever is logged afterwards is dropped.
void log_last_words(const std::string& text);
// From now on nothing goes to the console; the file gets everything. For when another rank has said its last words.
void silence_console();
// Whether lines may still go to the console.
bool console_is_open();

// How many warnings this process has logged so far.
int64_t num_warnings();

// Writes what is buffered for the file.
void flush_log();

}  // namespace rosa::base
