#include "report/run/suite_section.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "report/heat_map.h"
#include "report/line_chart.h"
#include "report/numbers.h"
#include "report/run/suite_tables.h"

namespace rosa::report {
namespace {

using base::concat;
using Place = SuiteTaskRows::Place;

// An axis on which values differ by more is logarithmic.
constexpr double kLargestLinearRatio = 20;

std::string length_text(int64_t length) { return fixed(static_cast<double>(length), 0); }

// The groups of the task `language` that belong together.
struct GroupFamily {
  const char* title;
  std::vector<const char*> starts;  // of the names of its groups
  const char* x_title;              // empty: nothing to draw
};

const std::vector<GroupFamily>& group_families() {
  static const std::vector<GroupFamily> kFamilies = {
      {"By place in the document", {"position "}, "position in the document"},
      {"By length of the longest earlier match of tokens", {"no match", "match of "}, "length of the match, tokens"},
      {"By distance to that match", {"match at distance "}, "distance, tokens"},
      {"By length of the match in ROSA's best head",
       {"no match in any head", "head match of "},
       "length of the match, symbols"},
      {"By distance to the match in ROSA's best head", {"head match at distance "}, "distance, tokens"},
      {"By source", {"source "}, ""},
      {"By what is known of the token", {""}, ""}};
  return kFamilies;
}

// The family whose longest beginning the name has: "no match in any head" is not of "no match".
const GroupFamily& family_of(const std::string& group) {
  const GroupFamily* found = nullptr;
  std::size_t longest = 0;
  for (const GroupFamily& family : group_families()) {
    for (const std::string_view start : family.starts) {
      if (!group.starts_with(start) || (found != nullptr && start.size() <= longest)) continue;
      found = &family;
      longest = start.size();
    }
  }
  return *found;
}

bool has_tokens_by_group(const SuiteTaskRows& rows) {
  return std::any_of(rows.groups().begin(), rows.groups().end(),
                     [](const std::string& group) { return group != "all" && !group.starts_with("position "); });
}

class TaskSection {
 public:
  TaskSection(const SuiteTaskRows& rows, const Appearance& appearance, int number) : rows_(rows), number_(number) {
    section_.title = "Suite: " + rows.task();
    section_.appearance = appearance;
    if (!rows_.depths().empty()) {
      add_depths();
    } else if (rows_.has_answers()) {
      add_answers();
    } else if (has_tokens_by_group(rows_)) {
      add_language();
    } else {
      add_lengths();
    }
  }

  Section take() { return std::move(section_); }

 private:
  std::string next_id() { return concat("suite-", number_, "-", ++num_charts_); }

  void add_depths() {
    section_.explanation =
        "A key and its value stand at a depth of the text, and the key is asked for at the end: the share of the "
        "answers that are right in every token. Depth 0% is the beginning of the text.";
    for (std::size_t line = 0; line < rows_.lines().size(); ++line) section_.panels.push_back(depth_map(line));
    std::vector<std::pair<std::string, Place>> places;
    for (const int64_t length : rows_.lengths()) {
      for (const int64_t depth : rows_.depths()) {
        places.emplace_back(concat(length_text(length), ", ", depth, "%"), Place{length, depth, "all"});
      }
    }
    add_table("exact", "length, depth", places);
    add_table("ce", "length, depth", places);
  }

  Markup depth_map(std::size_t line) {
    const SuiteFigureInfo& info = suite_figure("exact");
    HeatMap map;
    map.id = next_id();
    map.title = concat(rows_.task(), ": ", rows_.lines()[line].name);
    map.x_title = "length";
    map.values = {0, 1};
    map.value_text = [&info](double value) { return value_text(info, value); };
    for (const int64_t length : rows_.lengths()) map.column_names.push_back(length_text(length));
    bool is_empty = true;
    for (const int64_t depth : rows_.depths()) {
      HeatRow row = {concat("depth ", depth, "%"), {}, std::vector<bool>(rows_.lengths().size(), false)};
      for (const int64_t length : rows_.lengths()) {
        const SuiteRow* cell = rows_.row(line, {length, depth, "all"});
        const SuiteFigure* figure = cell == nullptr ? nullptr : cell->figure("exact");
        is_empty = is_empty && figure == nullptr;
        row.values.push_back(figure == nullptr ? std::nullopt : std::optional(figure->value));
        row.texts.push_back(figure == nullptr ? ""
                                              : concat(value_text(info, *figure), ", ",
                                                       fixed(static_cast<double>(cell->num_answers), 0), " answers"));
      }
      map.rows.push_back(std::move(row));
    }
    map.description = "Its values are in the table below.";
    return is_empty ? Markup() : panel(rows_.lines()[line].name, map.svg());
  }

  void add_answers() {
    section_.explanation =
        "What is asked for stands earlier in the text: the share of the answers that are right in every token.";
    add_length_figure("exact");
    add_length_figure("ce");
  }

  void add_lengths() {
    section_.explanation = "The same text in ever longer sequences, each token scored.";
    for (const char* key :
         {"perplexity", "ce", "bits_per_byte", "gap_closed", "us_per_token", "state_bytes_per_token"}) {
      add_length_figure(key);
    }
    if (rows_.lengths().empty()) return;
    const int64_t longest = rows_.lengths().back();
    std::vector<std::string> positions;
    for (const std::string& group : rows_.groups()) {
      if (group.starts_with("position ")) positions.push_back(group);
    }
    add_groups(concat("By position at length ", length_text(longest)), "position", "ce", longest, positions);
  }

  // Curves over the lengths, and a row for each.
  void add_length_figure(const char* key) {
    std::vector<std::pair<std::string, Place>> places;
    std::vector<std::pair<double, Place>> points;
    for (const int64_t length : rows_.lengths()) {
      places.emplace_back(length_text(length), Place{length, -1, "all"});
      points.emplace_back(static_cast<double>(length), places.back().second);
    }
    section_.panels.push_back(curves(suite_figure(key), suite_figure(key).title, "length, tokens", points));
    add_table(key, "length", places);
  }

  void add_language() {
    section_.explanation =
        "Held-out text, token by token. A match is the longest earlier copy of the tokens, or of a head's symbols, "
        "before a token. A token is in several groups.";
    for (const int64_t length : rows_.lengths()) {
      const std::string at = rows_.lengths().size() > 1 ? " at length " + length_text(length) : "";
      add_overview(length, at);
      for (const GroupFamily& family : group_families()) {
        std::vector<std::string> groups;
        for (const std::string& group : rows_.groups()) {
          if (group != "all" && &family_of(group) == &family) groups.push_back(group);
        }
        add_groups(family.title + at, family.x_title, "ce", length, groups);
        // Where the gap lies between window and teacher tells which tokens the memory is for.
        std::vector<std::pair<std::string, Place>> places;
        for (const std::string& group : groups) places.emplace_back(group, Place{length, -1, group});
        const SuiteFigureInfo& closed = suite_figure("gap_closed");
        section_.tables.push_back(rows_.table(concat(family.title, at, ": ", closed.title), "group", closed, places));
      }
    }
  }

  // All tokens: one row a figure.
  void add_overview(int64_t length, const std::string& at) {
    std::vector<Column> columns;
    for (const SuiteLine& line : rows_.lines()) columns.push_back({"", line.name});
    Table table("All tokens" + at, "figure", columns);
    for (const char* key : {"perplexity", "ce", "bits_per_byte", "top1", "kl", "agreement", "gap_closed"}) {
      const SuiteFigureInfo& info = suite_figure(key);
      Row row = {info.title, "", false, {}};
      bool is_empty = true;
      for (std::size_t i = 0; i < rows_.lines().size(); ++i) {
        const SuiteRow* cell = rows_.row(i, {length, -1, "all"});
        const SuiteFigure* figure = cell == nullptr ? nullptr : cell->figure(key);
        is_empty = is_empty && figure == nullptr;
        row.cells.push_back({figure == nullptr ? "" : value_text(info, *figure), "", false});
      }
      if (!is_empty) table.add(std::move(row));
    }
    table.drop_empty_columns();
    section_.tables.push_back(std::move(table));
  }

  // Curves over the ranges in the groups' names, and a row for each group.
  void add_groups(const std::string& title, const std::string& x_title, const char* key, int64_t length,
                  const std::vector<std::string>& groups) {
    std::vector<std::pair<std::string, Place>> places;
    std::vector<std::pair<double, Place>> points;
    for (const std::string& group : groups) {
      places.emplace_back(group, Place{length, -1, group});
      const auto range = range_of_group(group);
      if (range) points.emplace_back(std::sqrt(range->low * range->high), places.back().second);
    }
    const SuiteFigureInfo& info = suite_figure(key);
    if (!x_title.empty()) section_.panels.push_back(curves(info, title, x_title, points));
    section_.tables.push_back(rows_.table(concat(title, ": ", info.title_and_unit()), "group", info, places));
  }

  void add_table(const char* key, const char* heading, const std::vector<std::pair<std::string, Place>>& places) {
    const SuiteFigureInfo& info = suite_figure(key);
    section_.tables.push_back(rows_.table(info.title_and_unit(), heading, info, places));
  }

  // Empty where a line would have a single point.
  Markup curves(const SuiteFigureInfo& info, const std::string& title, const std::string& x_title,
                std::vector<std::pair<double, Place>> points) {
    std::sort(points.begin(), points.end());
    LineChart chart;
    chart.id = next_id();
    chart.title = title;
    std::vector<std::string> hovers(points.size());
    std::vector<double> values;
    std::size_t most_points = 0;
    for (std::size_t line = 0; line < rows_.lines().size(); ++line) {
      Series series = {rows_.lines()[line].name, rows_.lines()[line].name, "", true, {}};
      for (std::size_t i = 0; i < points.size(); ++i) {
        const SuiteRow* row = rows_.row(line, points[i].second);
        const SuiteFigure* figure = row == nullptr ? nullptr : row->figure(info.key);
        if (figure == nullptr) continue;
        const Interval band = figure->interval.value_or(Interval{figure->value, figure->value});
        series.curve.push_back({points[i].first, figure->value, band.low, band.high});
        values.insert(values.end(), {figure->value, band.low, band.high});
        hovers[i] += concat("\n", series.name, ": ", value_text(info, *figure));
      }
      if (series.curve.empty()) continue;
      most_points = std::max(most_points, series.curve.size());
      chart.description += concat(chart.description.empty() ? "Last values: " : ", ", series.name, " ",
                                  value_text(info, series.curve.back().y));
      chart.series.push_back(std::move(series));
    }
    if (most_points < 2) return {};
    const auto [first, last] = std::minmax_element(points.begin(), points.end());
    chart.x = {x_title, ScaleKind::logarithmic, {first->first, last->first}, {}};
    for (const auto& [x, place] : points) chart.x.tick_values.push_back(std::round(x));
    if (x_title != "length, tokens") chart.x.tick_values.clear();  // round numbers where a point stands for a range
    chart.y = {info.unit.empty() ? info.title : info.unit, ScaleKind::linear, {0, 1}, {}};
    if (info.is_share) values.insert(values.end(), {0, 1});
    set_domain(chart.y, values);
    add_hovers(chart, points, hovers);
    return panel(title, chart.svg(section_.appearance));
  }

  static void set_domain(Axis& axis, const std::vector<double>& values) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    if (*low > 0 && *high > kLargestLinearRatio * *low) {
      axis.kind = ScaleKind::logarithmic;
      axis.title += "; logarithmic";
      axis.domain = {*low / 1.25, *high * 1.25};
    } else {
      axis.domain = round_interval({*low, *high}, 5);
    }
  }

  // Each point's part reaches half the way to its neighbours.
  static void add_hovers(LineChart& chart, const std::vector<std::pair<double, Place>>& points,
                         const std::vector<std::string>& texts) {
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (texts[i].empty()) continue;
      const double x = points[i].first;
      const double low = i == 0 ? x : std::sqrt(points[i - 1].first * x);
      const double high = i + 1 == points.size() ? x : std::sqrt(points[i + 1].first * x);
      const Place& place = points[i].second;
      const std::string name = place.group == "all" ? concat("length ", length_text(place.length)) : place.group;
      chart.hovers.push_back({{low, high}, name + texts[i]});
    }
  }

  const SuiteTaskRows& rows_;
  int number_, num_charts_ = 0;
  Section section_;
};

Section overview(const std::vector<SuiteResult>& results) {
  Table table("What was scored", "result", {{"", "suite"}, {"", "run"}, {"", "after steps"}, {"", "variants"}});
  for (const SuiteResult& result : results) {
    std::string variants;
    for (const std::string& variant : result.variants()) variants += (variants.empty() ? "" : ", ") + variant;
    table.add({result.name,
               "",
               false,
               {{result.suite, "", false},
                {result.run, "", false},
                {result.num_steps_done ? fixed(*result.num_steps_done, 0) : "", "", false},
                {variants, "", false}}});
  }
  table.drop_empty_columns();
  table.set_holds_texts();
  return {.title = "Long-context suites",
          .explanation = "Numbers in brackets are 95% bootstrap intervals; bands in the pictures show them too.",
          .panels = {},
          .tables = {std::move(table)}};
}

}  // namespace

std::vector<Section> suite_sections(const std::vector<SuiteResult>& results) {
  if (results.empty()) return {};
  const std::vector<SuiteLine> lines = suite_lines(results);
  Appearance appearance;
  for (const SuiteLine& line : lines) appearance.add(line.name);
  std::vector<Section> sections = {overview(results)};
  std::set<std::string> seen;
  int number = 0;
  for (const SuiteResult& result : results) {
    for (const std::string& task : result.tasks()) {
      if (!seen.insert(task).second) continue;
      const SuiteTaskRows rows(lines, task);
      sections.push_back(TaskSection(rows, appearance, ++number).take());
    }
  }
  return sections;
}

}  // namespace rosa::report
