// StripPlot: one row a name with a dot for each value and a tick at their mean, and a line at a reference value, as one
// SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/appearance.h"
#include "report/markup.h"

namespace rosa::report {

struct Strip {
  std::string name;
  std::string marker;  // a name of Appearance
  std::vector<double> values;
};

struct StripPlot {
  std::string id;  // unique on the page
  std::string title, description, axis_title;
  std::vector<Strip> strips;  // from top to bottom; those without values are left out
  std::optional<double> reference;
  std::string reference_name;

  // Empty where no strip has a value. Values far beyond the others lie at the edge, marked by an arrow.
  Markup svg(const Appearance& appearance) const;
};

}  // namespace rosa::report
