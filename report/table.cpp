#include "report/table.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::report {
namespace {

constexpr const char* kNoValue = "\u2013";

std::string markdown_cell(const Cell& cell) {
  if (cell.text.empty()) return kNoValue;
  std::string text = cell.text;
  if (!cell.spread.empty()) text += " ± " + cell.spread;
  text = markdown_text(text);
  return cell.is_best ? "**" + text + "**" : text;
}

// A name, which may be broken after the signs that join its words.
void write_name(Markup& out, const std::string& name) {
  out.open("span");
  std::size_t begin = 0;
  for (std::size_t i = 0; i + 1 < name.size(); ++i) {
    if (name[i] != '/' && name[i] != '_') continue;
    out.text(std::string_view(name).substr(begin, i + 1 - begin)).leaf("wbr");
    begin = i + 1;
  }
  out.text(std::string_view(name).substr(begin)).close();
}

void write_cell(Markup& out, const Cell& cell) {
  out.open("td", {{"class", cell.is_best ? "best" : ""}});
  if (cell.text.empty()) {
    out.element("span", {{"class", "nothing"}}, kNoValue);
  } else {
    if (cell.is_best) out.element("span", {{"class", "star"}, {"title", "best of its column"}}, "\u2605");
    out.text(cell.text);
    if (!cell.spread.empty()) out.element("span", {{"class", "spread"}}, "\u00a0±\u00a0" + cell.spread);
  }
  out.close();
}

}  // namespace

void Table::add(Row row) {
  base::require(row.cells.size() == columns_.size(), "Table::add: ", row.cells.size(), " cells for ", columns_.size(),
                " columns");
  rows_.push_back(std::move(row));
}

void Table::mark_best(std::size_t column, const std::vector<std::optional<double>>& values, Best best) {
  base::require(values.size() == rows_.size() && column < columns_.size(), "Table::mark_best: wrong size");
  std::optional<double> target;
  if (std::count_if(values.begin(), values.end(), [](const auto& value) { return value.has_value(); }) < 2) return;
  for (const auto& value : values) {
    if (value && (!target || (best == Best::lowest ? *value < *target : *value > *target))) target = value;
  }
  for (std::size_t i = 0; i < rows_.size(); ++i) rows_[i].cells[column].is_best = target && values[i] == target;
}

void Table::drop_empty_columns() {
  for (std::size_t column = columns_.size(); column-- > 0;) {
    const auto is_empty = [column](const Row& row) { return row.cells[column].text.empty(); };
    if (!std::all_of(rows_.begin(), rows_.end(), is_empty)) continue;
    columns_.erase(columns_.begin() + static_cast<std::ptrdiff_t>(column));
    for (Row& row : rows_) row.cells.erase(row.cells.begin() + static_cast<std::ptrdiff_t>(column));
  }
}

Markup Table::head() const {
  const bool has_groups =
      std::any_of(columns_.begin(), columns_.end(), [](const Column& column) { return !column.group.empty(); });
  Markup out;
  out.open("thead");
  if (has_groups) {
    out.open("tr").open("th", {{"scope", "col"}, {"rowspan", "2"}, {"class", "name"}}).text(heading_).close();
    for (std::size_t i = 0; i < columns_.size();) {
      std::size_t end = i + 1;
      while (end < columns_.size() && columns_[end].group == columns_[i].group) ++end;
      if (columns_[i].group.empty()) {
        for (; i < end; ++i) out.element("th", {{"scope", "col"}, {"rowspan", "2"}}, columns_[i].title);
      } else {
        const std::string span = std::to_string(end - i);
        out.element("th", {{"scope", "colgroup"}, {"colspan", span}, {"class", "group"}}, columns_[i].group);
      }
      i = end;
    }
    out.close();
  }
  out.open("tr");
  if (!has_groups) out.element("th", {{"scope", "col"}, {"class", "name"}}, heading_);
  for (const Column& column : columns_) {
    if (!has_groups || !column.group.empty()) out.element("th", {{"scope", "col"}}, column.title);
  }
  return out.close().close();
}

Markup Table::html(const Appearance& appearance) const {
  Markup out;
  // A box that scrolls must be reachable by keyboard, and then needs a name.
  out.open("div", {{"class", "scroll"}, {"tabindex", "0"}, {"role", "region"}, {"aria-label", caption_}});
  out.open("table", holds_texts_ ? Attributes{{"class", "texts"}} : Attributes{})
      .open("caption")
      .element("span", {}, caption_)
      .close()
      .add(head())
      .open("tbody");
  for (const Row& row : rows_) {
    out.open("tr", {{"class", row.is_control ? "control" : ""}});
    out.open("th", {{"scope", "row"}, {"class", "name"}});
    out.open("span", {{"class", "entry"}});
    if (!row.marker.empty()) out.add(appearance.swatch(row.marker));
    write_name(out, row.name);
    out.close().close();
    for (const Cell& cell : row.cells) write_cell(out, cell);
    out.close();
  }
  return out.close().close().close();
}

std::string Table::markdown() const {
  std::string head = "| " + markdown_text(heading_) + " |";
  std::string rule = "|---|";
  for (const Column& column : columns_) {
    head += " " + markdown_text(column.group.empty() ? column.title : column.group + ": " + column.title) + " |";
    rule += "---:|";
  }
  std::string out = head + "\n" + rule + "\n";
  for (const Row& row : rows_) {
    out += "| " + markdown_text(row.name) + " |";
    for (const Cell& cell : row.cells) out += " " + markdown_cell(cell) + " |";
    out += "\n";
  }
  return out;
}

}  // namespace rosa::report
