// What tests of pages share: a parser that looks at the whole, and the cells of tables as a reader sees them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>
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

inline std::string without_tags(const std::string& html) {
  return std::regex_replace(html, std::regex("<[^>]*>|\n"), "");
}

// The cells of a row of the table with this caption, as a reader sees them; empty where there is no such row.
inline std::vector<std::string> row_of(const std::string& page, const std::string& caption, const std::string& name) {
  const std::size_t begin = page.find("<caption><span>" + caption);
  if (begin == std::string::npos) return {};
  const std::string table = page.substr(begin, page.find("</table>", begin) - begin);
  const std::regex row("<th scope=\"row\"[^]*?</tr>");
  for (std::sregex_iterator found(table.begin(), table.end(), row), end; found != end; ++found) {
    const std::string text = found->str();
    const std::size_t head_end = text.find("</th>");
    if (without_tags(text.substr(0, head_end)) != name) continue;
    std::vector<std::string> cells;
    const std::regex cell("<td[^]*?</td>");
    const std::string rest = text.substr(head_end);
    for (std::sregex_iterator one(rest.begin(), rest.end(), cell); one != end; ++one) {
      cells.push_back(without_tags(one->str()));
    }
    return cells;
  }
  return {};
}

}  // namespace rosa::testing
