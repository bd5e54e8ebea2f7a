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

struct Series {
  std::string name;    // at the right end, and its tooltip
  std::string marker;  // a name of Appearance
  std::string dash;    // empty: none
  bool marks_points = false;
  Curve curve;
};

struct LineChart {
  std::string id;  // unique on the page
  std::string title, description;
  Axis x, y;
  std::vector<Series> series;
  std::optional<double> x_reference = {};  // a line across the plot, with its name
  std::string x_reference_name = {};

  // Points outside the axes' domains are cut off; those that a logarithmic axis can't show are left out.
  Markup svg(const Appearance& appearance) const;
};

}  // namespace rosa::report
