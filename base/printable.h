// Text that came out of files or names, on its way to a terminal, a log or a page: nothing in it may move the cursor,
// colour, reorder or break a line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rosa::base {

// `text` with control characters, line ends, marks that reorder or hide text, and bytes that are no UTF-8 written as
// \n, \t, \x1b, \u202e and \xe9. What is printable already stays as it is, so it does no harm to call it twice.
std::string printable(std::string_view text);

// The same, cut after about `max_bytes`; the whole length is said then.
std::string excerpt(std::string_view text, size_t max_bytes = 160);

// What was made as several lines, a library's message or a list, on one line: a line end (with the blanks around it)
// becomes "; ", everything else as in printable(). Not for names and what holds them: a line end in those is escaped.
std::string one_line(std::string_view text);

// The same as printable(), but line ends and tabs stay: for a whole text of several lines.
std::string printable_lines(std::string_view text);

// Makes a stream printable piece by piece, for text that is shown while it comes. Line ends and tabs stay; a character
// that is torn between two pieces is held back until the rest of it is there.
class PrintableStream {
 public:
  std::string add(std::string_view piece);
  // What was held back and has no rest.
  std::string finish();

 private:
  std::string torn_;
};

bool is_utf8(std::string_view text);

// The text itself where it is UTF-8, else printable(): for what only UTF-8 may be written to and people read (JSON).
std::string as_utf8(std::string_view text);

}  // namespace rosa::base
