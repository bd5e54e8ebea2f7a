// What tests of pages share: a parser that looks at the whole, and the cells of tables as a reader sees them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/support/temporary_folder.h"

namespace rosa::testing {

// The page itself, once a real parser has looked at it (tests/support/check_report_page.py).
inline std::string checked(const std::string& page) {
  const TemporaryFolder work;
  base::write_file_atomically(work / "page.html", page);
  const std::string check = "python3 '" ROSA_SOURCE_DIR "/tests/support/check_report_page.py' ";
  EXPECT_EQ(std::system((check + (work / "page.html").string()).c_str()), 0);
  return page;
}

// Pages are too long for a matcher's message.
inline bool holds(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

// By hand: std::regex takes a stack as deep as the text is long.
inline std::string without_tags(const std::string& html) {
  std::string text;
  bool in_tag = false;
  for (const char each : html) {
    if (each == '<') in_tag = true;
    if (!in_tag && each != '\n') text += each;
    if (each == '>') in_tag = false;
  }
  return text;
}

// The parts of `text` that begin with `begin` and end with `end`, both included.
inline std::vector<std::string> parts_of(const std::string& text, const std::string& begin, const std::string& end) {
  std::vector<std::string> parts;
  for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at + 1)) {
    const std::size_t last = text.find(end, at);
    if (last == std::string::npos) break;
    parts.push_back(text.substr(at, last + end.size() - at));
  }
  return parts;
}

// The cells of a row of the table with this caption, as a reader sees them; empty where there is no such row.
inline std::vector<std::string> row_of(const std::string& page, const std::string& caption, const std::string& name) {
  const std::size_t begin = page.find("<caption><span>" + caption);
  if (begin == std::string::npos) return {};
  const std::string table = page.substr(begin, page.find("</table>", begin) - begin);
  for (const std::string& row : parts_of(table, "<th scope=\"row\"", "</tr>")) {
    const std::size_t head_end = row.find("</th>");
    if (without_tags(row.substr(0, head_end)) != name) continue;
    std::vector<std::string> cells;
    for (const std::string& cell : parts_of(row.substr(head_end), "<td", "</td>")) cells.push_back(without_tags(cell));
    return cells;
  }
  return {};
}

}  // namespace rosa::testing
