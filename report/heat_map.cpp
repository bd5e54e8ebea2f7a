#include "report/heat_map.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "report/numbers.h"
#include "report/svg_frame.h"

namespace rosa::report {
namespace {

constexpr double kWidth = 460, kTop = 14, kRight = 14, kLegendHeight = 30, kAxisHeight = 44;
constexpr double kLargestRow = 22, kSmallestRow = 6, kWantedHeight = 200, kMinNameDistance = 14;
constexpr double kMaxNameWidth = 120, kShadeWidth = 14, kShadeHeight = 10;

std::string box(double left, double top, double right, double bottom) {
  return "M" + coordinate(left) + " " + coordinate(top) + "H" + coordinate(right) + "V" + coordinate(bottom) + "H" +
         coordinate(left) + "Z";
}

std::string shade_class(std::size_t shade) { return "heat h" + std::to_string(shade); }

class Drawing {
 public:
  explicit Drawing(const HeatMap& map)
      : map_(map),
        row_height_(std::clamp(kWantedHeight / static_cast<double>(std::max<std::size_t>(1, map.rows.size())),
                               kSmallestRow, kLargestRow)),
        frame_(make_frame()),
        x_(ScaleKind::linear, domain_of(map), {frame_.plot.left, frame_.plot.right}) {}

  Markup svg() {
    open_svg(out_, frame_, map_.id, map_.title, map_.description);
    draw_x_axis(out_, frame_, x_, map_.column_names.empty() ? x_.ticks(5) : named_ticks(), map_.x_title);
    draw_cells();
    draw_names();
    draw_columns();
    draw_legend();
    return out_.close();
  }

 private:
  static Interval domain_of(const HeatMap& map) {
    if (map.column_names.empty()) return {map.columns.front().low, map.columns.back().high};
    return {0, static_cast<double>(map.column_names.size())};
  }

  std::size_t num_columns() const { return map_.columns.size() + map_.column_names.size(); }

  // In the middle of their columns, as many as find room.
  std::vector<Tick> named_ticks() const {
    std::vector<Tick> ticks;
    double end = 0;
    for (std::size_t column = 0; column < num_columns(); ++column) {
      const std::string& name = map_.column_names[column];
      const double middle = static_cast<double>(column) + 0.5;
      if (x_(middle) - text_width(name) / 2 < end) continue;
      end = x_(middle) + text_width(name) / 2 + 4;
      ticks.push_back({middle, name});
    }
    return ticks;
  }

  SvgFrame make_frame() const {
    double name_width = 20;
    for (const HeatRow& row : map_.rows) name_width = std::max(name_width, text_width(row.name));
    SvgFrame frame;
    frame.width = kWidth;
    frame.plot = {std::min(name_width, kMaxNameWidth) + 12, kTop, kWidth - kRight,
                  kTop + row_height_ * static_cast<double>(map_.rows.size())};
    frame.height = frame.plot.bottom + kAxisHeight + kLegendHeight;
    return frame;
  }

  std::size_t shade_of(double value) const {
    const double extent = map_.values.high - map_.values.low;
    const double share = extent > 0 ? std::clamp((value - map_.values.low) / extent, 0.0, 1.0) : 0;
    return std::min<std::size_t>(static_cast<std::size_t>(share * HeatMap::kNumShades), HeatMap::kNumShades - 1);
  }

  double top_of(std::size_t row) const { return frame_.plot.top + row_height_ * static_cast<double>(row); }
  Interval place_of(std::size_t column) const {
    if (map_.column_names.empty()) return map_.columns[column];
    return {static_cast<double>(column), static_cast<double>(column + 1)};
  }
  double left_of(std::size_t column) const { return x_.clamped(place_of(column).low); }
  double right_of(std::size_t column) const { return x_.clamped(place_of(column).high); }

  // Neighbours of one shade are one box.
  void draw_cells() {
    std::array<std::string, HeatMap::kNumShades> paths;
    std::string crosses;
    for (std::size_t i = 0; i < map_.rows.size(); ++i) {
      const HeatRow& row = map_.rows[i];
      const double top = top_of(i), bottom = top + row_height_, middle = (top + bottom) / 2;
      for (std::size_t begin = 0, end = 0; begin < num_columns(); begin = end) {
        end = begin + 1;
        if (!row.values[begin]) continue;
        const std::size_t shade = shade_of(*row.values[begin]);
        while (end < num_columns() && row.values[end] && shade_of(*row.values[end]) == shade) ++end;
        paths[shade] += box(left_of(begin), top, right_of(end - 1), bottom);
      }
      for (std::size_t column = 0; column < num_columns(); ++column) {
        if (!row.is_marked[column]) continue;
        const double size = std::min(row_height_, right_of(column) - left_of(column)) * 0.35;
        const double x = (left_of(column) + right_of(column)) / 2;
        crosses += "M" + coordinate(x - size) + " " + coordinate(middle - size) + "L" + coordinate(x + size) + " " +
                   coordinate(middle + size) + "M" + coordinate(x - size) + " " + coordinate(middle + size) + "L" +
                   coordinate(x + size) + " " + coordinate(middle - size);
      }
    }
    for (std::size_t shade = 0; shade < paths.size(); ++shade) {
      if (!paths[shade].empty()) out_.leaf("path", {{"class", shade_class(shade)}, {"d", paths[shade]}});
    }
    has_marks_ = !crosses.empty();
    if (has_marks_) out_.leaf("path", {{"class", "cross"}, {"d", crosses}});
  }

  void draw_names() {
    double last = -kMinNameDistance;
    for (std::size_t i = 0; i < map_.rows.size(); ++i) {
      const double y = top_of(i) + row_height_ / 2 + 4;
      if (y - last < kMinNameDistance) continue;
      last = y;
      out_.element("text", {{"class", "tick"}, {"x", frame_.plot.left - 7}, {"y", y}, {"text-anchor", "end"}},
                   shortened(map_.rows[i].name, kMaxNameWidth));
    }
  }

  void draw_columns() {
    out_.open("g", {{"class", "hover"}});
    for (std::size_t column = 0; column < num_columns(); ++column) {
      std::string text = map_.x_title + " ";
      if (map_.column_names.empty()) {
        text += fixed(map_.columns[column].low, 0) + " to " + fixed(map_.columns[column].high, 0);
      } else {
        text += map_.column_names[column];
      }
      for (const HeatRow& row : map_.rows) {
        if (!row.values[column]) continue;
        text += "\n" + row.name + ": ";
        text += row.texts.empty() ? map_.value_text(*row.values[column]) : row.texts[column];
        if (row.is_marked[column]) text += " (" + map_.mark_name + ")";
      }
      draw_hover(out_, left_of(column), right_of(column), frame_.plot, text);
    }
    out_.close();
  }

  void draw_legend() {
    const double top = frame_.plot.bottom + kAxisHeight + 2, baseline = top + kShadeHeight - 0.5;
    const std::string low = map_.value_text(map_.values.low), high = map_.value_text(map_.values.high);
    double x = frame_.plot.left + text_width(low) + 6;
    out_.element("text", {{"class", "tick"}, {"x", x - 6}, {"y", baseline}, {"text-anchor", "end"}}, low);
    for (std::size_t shade = 0; shade < HeatMap::kNumShades; ++shade, x += kShadeWidth) {
      out_.leaf("path", {{"class", shade_class(shade)}, {"d", box(x, top, x + kShadeWidth, top + kShadeHeight)}});
    }
    out_.element("text", {{"class", "tick"}, {"x", x + 6}, {"y", baseline}}, high);
    if (!has_marks_) return;
    out_.element("text", {{"class", "label"}, {"x", kWidth - kRight}, {"y", baseline}, {"text-anchor", "end"}},
                 "\u00d7 " + map_.mark_name);
  }

  const HeatMap& map_;
  double row_height_;
  SvgFrame frame_;
  Scale x_;
  Markup out_;
  bool has_marks_ = false;
};

}  // namespace

Markup HeatMap::svg() const {
  const std::size_t num_columns = columns.size() + column_names.size();
  base::require(columns.empty() != column_names.empty(), "HeatMap::svg: expected columns, or names of them");
  for (const HeatRow& row : rows) {
    base::require(row.values.size() == num_columns && row.is_marked.size() == num_columns &&
                      (row.texts.empty() || row.texts.size() == num_columns),
                  "HeatMap::svg: a row with ", row.values.size(), " values for ", num_columns, " columns");
  }
  return Drawing(*this).svg();
}

}  // namespace rosa::report
