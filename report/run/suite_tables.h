// What several long-context evaluations found in one task, by line (a variant of a result), length, depth and group,
// and the tables of it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "report/run/suite_result.h"
#include "report/table.h"

namespace rosa::report {

// One variant of one result, under the name that it has in every picture and table of the page.
struct SuiteLine {
  std::string name;
  const SuiteResult* result = nullptr;
  std::string variant;
};

// The variant where there is one result, the result where each has the same single variant, else both.
std::vector<SuiteLine> suite_lines(const std::vector<SuiteResult>& results);

// A figure of a suite: how it is called, in which unit, and how its values are written.
struct SuiteFigureInfo {
  std::string key, title, unit;  // unit: may be empty
  bool is_share = false;

  // "Time a token, us".
  std::string title_and_unit() const { return unit.empty() ? title : title + ", " + unit; }
};
const SuiteFigureInfo& suite_figure(const std::string& key);
std::string value_text(const SuiteFigureInfo& info, double value);
// With its interval, where it has one: "95.0% [87.5, 100.0]".
std::string value_text(const SuiteFigureInfo& info, const SuiteFigure& figure);

// "a to b" at the end of a group's name; [a, a] of a single number and of an open end.
std::optional<Interval> range_of_group(const std::string& group);

// The rows of one task.
class SuiteTaskRows {
 public:
  struct Place {
    int64_t length = 0, depth = -1;  // -1: none
    std::string group;
    auto operator<=>(const Place&) const = default;
  };

  SuiteTaskRows(const std::vector<SuiteLine>& lines, std::string task);

  const std::string& task() const { return task_; }
  const std::vector<SuiteLine>& lines() const { return lines_; }
  // Null where the line has none.
  const SuiteRow* row(std::size_t line, const Place& place) const;
  const std::vector<int64_t>& lengths() const { return lengths_; }    // ascending
  const std::vector<int64_t>& depths() const { return depths_; }      // ascending; of those with a depth
  const std::vector<std::string>& groups() const { return groups_; }  // in the order in which they come
  bool has_answers() const { return has_answers_; }
  // Whether a sequence holds several.
  bool has_documents() const { return has_documents_; }

  // One row for each of `places`, one column for each line, and what the figures stand on. Lines without the figure are
  // left out, and so are places.
  Table table(const std::string& caption, const std::string& heading, const SuiteFigureInfo& figure,
              const std::vector<std::pair<std::string, Place>>& places) const;

 private:
  std::string task_;
  const std::vector<SuiteLine>& lines_;
  std::vector<std::map<Place, const SuiteRow*>> rows_;  // one a line
  std::vector<int64_t> lengths_, depths_;
  std::vector<std::string> groups_;
  bool has_answers_ = false, has_documents_ = false;
};

}  // namespace rosa::report
