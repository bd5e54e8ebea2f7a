// LineChart: curves with bands over two axes as one SVG, each with its name at its right end. Draws finished points;
// the colours come from the page's style sheet.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/appearance.h"
#include "report/markup.h"
#include "report/scale.h"
#include "report/statistics.h"

namespace rosa::report {

struct Axis {
  std::string title;
  ScaleKind kind = ScaleKind::linear;
  Interval domain;
  std::vector<double> tick_values = {};  // empty: round ones
};

// line: a line, its band, and its name at its right end. faint: a thin line and its band, without a name. area: the
// band alone, filled, and its name; stacked where the bands stand on each other.
enum class SeriesStyle { line, faint, area };

// What a pointer over a part of the plot's width is told.
struct Hover {
  Interval part;
  std::string text;
};

// Something that happened, as a small mark at the top of the plot. `kind`: a class of the style sheet.
struct EventMark {
  double x = 0;
  std::string kind, text;
};

struct Series {
  std::string name;    // at the right end, and its tooltip
  std::string marker;  // a name of Appearance
  std::string dash;    // empty: none
  bool marks_points = false;
  Curve curve;
  SeriesStyle style = SeriesStyle::line;
};

struct LineChart {
  std::string id;  // unique on the page
  std::string title, description;
  Axis x, y;
  std::vector<Series> series;
  std::optional<double> x_reference = {};  // a line across the plot, with its name
  std::string x_reference_name = {};
  std::vector<Hover> hovers = {};
  std::vector<EventMark> events = {};

  // Points outside the axes' domains are cut off; those that a logarithmic axis can't show are left out.
  Markup svg(const Appearance& appearance) const;
};

}  // namespace rosa::report
