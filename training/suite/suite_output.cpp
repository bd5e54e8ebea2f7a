#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/error.h"
#include "base/formatted.h"
#include "base/printable.h"
#include "training/suite/suite.h"

namespace rosa::training {
namespace {

using base::formatted;

constexpr int kWideCell = 24, kNarrowCell = 15;

// One line of a table.
struct Place {
  int64_t length = 0;
  int64_t depth = -1;
  std::string group;

  friend bool operator==(const Place&, const Place&) = default;
};

Place place_of(const SuiteRow& row) { return {row.length, row.depth.value_or(-1), row.group}; }

std::string cell_text(const SuiteRow* row, bool with_interval) {
  const int width = with_interval ? kWideCell : kNarrowCell;
  if (row == nullptr) return formatted("%*s", width, "-");
  const SuiteFigure* exact = row->figure("exact");
  const SuiteFigure* shown = exact != nullptr ? exact : row->figure("ce");
  if (shown == nullptr) return formatted("%*s", width, "-");
  const double scale = exact != nullptr ? 100.0 : 1.0;
  const char* number = exact != nullptr ? "%.1f%%" : "%.4f";
  std::string text = formatted(number, scale * shown->value);
  if (shown->interval && with_interval) {
    const std::string range = exact != nullptr ? " [%.1f, %.1f]" : " [%.3f, %.3f]";
    text += formatted(range.c_str(), scale * shown->interval->low, scale * shown->interval->high);
  }
  return formatted("%*s", width, text.c_str());
}

std::string table_of(const SuiteResult& result, const std::string& task, int num_columns) {
  std::vector<Place> places;
  std::map<std::pair<size_t, std::string>, const SuiteRow*> cells;
  size_t group_width = 5;
  bool has_depth = false;
  for (const SuiteRow& row : result.rows) {
    if (row.task != task) continue;
    const Place place = place_of(row);
    if (places.empty() || places.back() != place) places.push_back(place);
    cells[{places.size() - 1, row.variant}] = &row;
    group_width = std::max(group_width, row.group.size());
    has_depth = has_depth || row.depth.has_value();
  }
  const bool is_exact = result.rows.end() != std::find_if(result.rows.begin(), result.rows.end(), [&](const auto& row) {
                          return row.task == task && row.num_answers > 0;
                        });
  const int width = static_cast<int>(29 + group_width) + kWideCell * static_cast<int>(result.variants.size());
  const bool with_intervals = num_columns == 0 || width <= num_columns;
  std::string text = base::concat(
      base::printable(task), is_exact ? ": answers that are right in every token" : ": cross-entropy, nats a token",
      with_intervals ? " [95 % interval]\n" : "\n");
  text += formatted("%9s %s%-*s %10s", "length", has_depth ? " depth " : "", static_cast<int>(group_width), "tokens",
                    is_exact ? "answers" : "number");
  for (const std::string& variant : result.variants) {
    text += formatted("%*s", with_intervals ? kWideCell : kNarrowCell, variant.c_str());
  }
  text += "\n";
  for (size_t i = 0; i < places.size(); ++i) {
    const Place& place = places[i];
    const SuiteRow* any = nullptr;
    std::string columns;
    for (const std::string& variant : result.variants) {
      const auto found = cells.find({i, variant});
      if (found != cells.end()) any = found->second;
      columns += cell_text(found == cells.end() ? nullptr : found->second, with_intervals);
    }
    text += formatted("%9lld ", static_cast<long long>(place.length));
    if (has_depth) text += formatted("%5lld%% ", static_cast<long long>(place.depth));
    text += formatted("%-*s %10lld", static_cast<int>(group_width), place.group.c_str(),
                      static_cast<long long>(is_exact ? any->num_answers : any->num_tokens));
    text += columns + "\n";
  }
  return text;
}

}  // namespace

nlohmann::ordered_json suite_json(const SuiteResult& result) {
  nlohmann::ordered_json json = {{"variants", result.variants}, {"rows", nlohmann::ordered_json::array()}};
  for (const SuiteRow& row : result.rows) {
    nlohmann::ordered_json entry = {{"task", row.task}, {"length", row.length}, {"depth", nullptr}};
    if (row.depth) entry["depth"] = *row.depth;
    entry["group"] = row.group;
    entry["variant"] = row.variant;
    entry["num_tokens"] = row.num_tokens;
    entry["num_sequences"] = row.num_sequences;
    entry["num_documents"] = row.num_documents;
    entry["num_answers"] = row.num_answers;
    for (const SuiteFigure& figure : row.figures) {
      nlohmann::ordered_json value = {{"value", figure.value}, {"low", nullptr}, {"high", nullptr}};
      if (figure.interval) {
        value["low"] = figure.interval->low;
        value["high"] = figure.interval->high;
      }
      entry["figures"][figure.name] = std::move(value);
    }
    json["rows"].push_back(std::move(entry));
  }
  return json;
}

std::string suite_tables(const SuiteResult& result, int num_columns) {
  std::string text;
  std::vector<std::string> shown;
  for (const SuiteRow& row : result.rows) {
    if (std::find(shown.begin(), shown.end(), row.task) != shown.end()) continue;
    shown.push_back(row.task);
    if (!text.empty()) text += '\n';
    text += table_of(result, row.task, num_columns);
  }
  return text;
}

}  // namespace rosa::training
