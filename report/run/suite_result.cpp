#include "report/run/suite_result.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"

namespace rosa::report {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 26;
// What a page can hold; a file could name any number.
constexpr std::size_t kMaxRows = 20'000, kMaxTasks = 50, kMaxVariants = 20;
constexpr int64_t kMaxLength = int64_t{1} << 40, kMaxCount = int64_t{1} << 53;
// A figure beyond it is as good as one that is not finite.
constexpr double kLargestFigure = 1e30;

std::optional<double> finite_number(const base::JsonFields& fields, const char* key) {
  const std::optional<double> number = fields.number(key);
  return number && std::abs(*number) <= kLargestFigure ? number : std::nullopt;
}

SuiteRow read_row(const base::JsonFields& fields) {
  SuiteRow row;
  row.task = fields.required_text("task");
  row.group = fields.required_text("group");
  row.variant = fields.required_text("variant");
  row.length = fields.required_integer("length", 1, kMaxLength);
  row.depth = fields.integer("depth", 0, 100);
  row.num_tokens = fields.required_integer("num_tokens", 0, kMaxCount);
  row.num_sequences = fields.required_integer("num_sequences", 0, kMaxCount);
  row.num_answers = fields.required_integer("num_answers", 0, kMaxCount);
  row.num_documents = fields.integer("num_documents", 0, kMaxCount).value_or(row.num_sequences);
  const auto figures = fields.object("figures");
  if (!figures) return row;
  for (const auto& [name, figure] : figures->members()) {
    const auto value = finite_number(figure, "value");
    if (!value) continue;
    const auto low = finite_number(figure, "low"), high = finite_number(figure, "high");
    row.figures[name] = {*value, low && high ? std::optional(Interval{*low, *high}) : std::nullopt};
  }
  return row;
}

std::vector<std::string> distinct(const std::vector<SuiteRow>& rows, std::string SuiteRow::*member) {
  std::vector<std::string> found;
  std::set<std::string> seen;
  for (const SuiteRow& row : rows) {
    if (seen.insert(row.*member).second) found.push_back(row.*member);
  }
  return found;
}

}  // namespace

const SuiteFigure* SuiteRow::figure(const std::string& name) const {
  const auto found = figures.find(name);
  return found == figures.end() ? nullptr : &found->second;
}

std::vector<std::string> SuiteResult::variants() const { return distinct(rows, &SuiteRow::variant); }

std::vector<std::string> SuiteResult::tasks() const { return distinct(rows, &SuiteRow::task); }

std::vector<SuiteRow> read_suite_rows(const base::JsonFields& fields, const char* key) {
  std::vector<SuiteRow> rows;
  const std::vector<base::JsonFields> all = fields.objects(key);
  if (all.size() > kMaxRows) fields.fail(key, base::concat("has ", all.size(), " rows; a page holds ", kMaxRows));
  for (const base::JsonFields& row : all) rows.push_back(read_row(row));
  for (const auto& [member, what, most] : {std::tuple(&SuiteRow::task, " tasks; a page holds ", kMaxTasks),
                                           std::tuple(&SuiteRow::variant, " variants; a page holds ", kMaxVariants)}) {
    const std::size_t count = distinct(rows, member).size();
    if (count > most) fields.fail(key, base::concat("has ", count, what, most));
  }
  return rows;
}

SuiteResult read_suite_file(const std::filesystem::path& path) {
  const auto value = base::read_json<base::DataError>(path, kMaxFileBytes);
  const std::string place = path.string();
  base::require<base::DataError>(value.is_object() && value.contains("variants") && value.contains("rows"), "'", place,
                                 "' holds no results of a suite; expected a file that `rosa eval RUN --suite NAME -o ",
                                 "FILE` wrote");
  const base::JsonFields fields(value, place);
  SuiteResult result;
  result.file = path;
  result.suite = fields.text("suite").value_or("");
  result.run = fields.text("run").value_or("");
  result.num_steps_done = fields.number("num_steps_done");
  result.rows = read_suite_rows(fields, "rows");
  return result;
}

void name_suites(std::vector<SuiteResult>& results) {
  std::map<std::string, int> counts;
  for (SuiteResult& result : results) ++counts[result.name = result.file.stem().string()];
  for (SuiteResult& result : results) {
    if (counts[result.name] > 1) result.name = result.file.string();
  }
}

}  // namespace rosa::report
