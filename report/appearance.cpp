#include "report/appearance.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rosa::report {
namespace {

// A polygon with `corners`, the first one at `degrees` from the right, clockwise.
std::string polygon(double x, double y, double radius, int corners, double degrees) {
  std::string path;
  for (int i = 0; i < corners; ++i) {
    const double angle = (degrees + 360.0 * i / corners) * std::numbers::pi / 180;
    path += (i == 0 ? "M" : "L") + coordinate(x + radius * std::cos(angle)) + " " +
            coordinate(y + radius * std::sin(angle));
  }
  return path + "Z";
}

std::string circle(double x, double y, double radius) {
  const std::string r = coordinate(radius);
  const std::string arc = "a" + r + " " + r + " 0 1 0 ";
  return "M" + coordinate(x - radius) + " " + coordinate(y) + arc + coordinate(2 * radius) + " 0" + arc +
         coordinate(-2 * radius) + " 0Z";
}

std::string cross(double x, double y, double radius) {
  const double arm = radius * 1.1, half = radius * 0.36;
  const double corners[][2] = {{-half, -arm}, {half, -arm}, {half, -half}, {arm, -half}, {arm, half},   {half, half},
                               {half, arm},   {-half, arm}, {-half, half}, {-arm, half}, {-arm, -half}, {-half, -half}};
  std::string path;
  for (const auto& corner : corners) {
    path += (path.empty() ? "M" : "L") + coordinate(x + corner[0]) + " " + coordinate(y + corner[1]);
  }
  return path + "Z";
}

}  // namespace

void Appearance::add(const std::string& name) {
  if (name != "none" && index(name) < 0) names_.push_back(name);
}

int Appearance::index(const std::string& name) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  return found == names_.end() ? -1 : static_cast<int>(found - names_.begin());
}

std::string Appearance::colour_class(const std::string& name) const {
  const int place = index(name);
  return place < 0 ? "ink" : "c" + std::to_string(place % kNumColours);
}

std::string Appearance::marker_path(const std::string& name, double x, double y, double radius) const {
  const int place = index(name);
  if (place < 0) return polygon(x, y, radius * 0.9, 4, 45);
  switch (place % kNumMarkers) {
    case 0:
      return circle(x, y, radius);
    case 1:
      return polygon(x, y, radius * 1.25, 4, 45);
    case 2:
      return polygon(x, y, radius * 1.35, 3, -90);
    case 3:
      return polygon(x, y, radius * 1.3, 4, 0);
    case 4:
      return polygon(x, y, radius * 1.35, 3, 90);
    case 5:
      return cross(x, y, radius);
    default:
      return polygon(x, y, radius * 1.15, 6, 0);
  }
}

Markup Appearance::swatch(const std::string& name) const {
  Markup svg;
  svg.open("svg", {{"class", "swatch " + colour_class(name)}, {"viewBox", "0 0 22 12"}, {"aria-hidden", "true"}});
  svg.leaf("path", {{"class", name == "none" ? "line control" : "line"}, {"d", "M1 6H21"}});
  svg.leaf("path", {{"class", "dot"}, {"d", marker_path(name, 11, 6, 4)}});
  return svg.close();
}

std::string dash_of_scope(std::string_view scope) {
  if (scope == "channel") return "7 3";
  if (scope == "joint") return "2 3";
  return "";
}

}  // namespace rosa::report
