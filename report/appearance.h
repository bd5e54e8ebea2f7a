// Appearance: which colour and marker a name has, on the whole page. Estimators and kernels share it, so that a name
// looks the same in every figure; names beyond the number of colours differ in both. Colours themselves: style.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "report/markup.h"

namespace rosa::report {

class Appearance {
 public:
  static constexpr int kNumColours = 8;
  static constexpr int kNumMarkers = 7;

  // Gives `name` the next place, unless it has one.
  void add(const std::string& name);

  // The class of style.cpp that sets the colour: "c0" .. "c7", "ink" for `none` and for names that were not added.
  std::string colour_class(const std::string& name) const;
  // The SVG path of the name's marker around (x, y).
  std::string marker_path(const std::string& name, double x, double y, double radius) const;
  // A small SVG with line and marker, for legends and tables; it is decoration beside the name.
  Markup swatch(const std::string& name) const;

 private:
  int index(const std::string& name) const;  // -1: has none

  std::vector<std::string> names_;
};

// How lines of a reward scope are dashed where scopes share a chart; empty: not at all.
std::string dash_of_scope(std::string_view scope);

}  // namespace rosa::report
