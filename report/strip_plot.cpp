#include "report/strip_plot.h"

#include <algorithm>

#include "report/numbers.h"
#include "report/scale.h"
#include "report/statistics.h"
#include "report/svg_frame.h"

namespace rosa::report {
namespace {

constexpr double kWidth = 460, kRowHeight = 21, kTop = 26, kBottom = 46, kRight = 58, kMaxNameWidth = 190;

// All values but those so far off that the others would lie in a heap.
Interval domain_of(const std::vector<double>& values) {
  const Interval all = {*std::min_element(values.begin(), values.end()),
                        *std::max_element(values.begin(), values.end())};
  const double low = quantile(values, 0.1), middle = quantile(values, 0.5), high = quantile(values, 0.9);
  Interval domain = all;
  domain.high = std::min(all.high, high + 2 * (high - low) + 1e-3 * std::abs(middle));
  domain.low = std::max(all.low, low - 2 * (high - low) - 1e-3 * std::abs(middle));
  return round_interval(domain, 5);
}

void draw_strip(Markup& out, const Strip& strip, const Scale& x, const SvgFrame& frame, double y,
                const Appearance& appearance) {
  const Summary summary = *summarise(strip.values);
  out.element("text", {{"class", "label"}, {"x", frame.plot.left - 10}, {"y", y + 4}, {"text-anchor", "end"}},
              shortened(strip.name, kMaxNameWidth));
  out.open("g", {{"class", appearance.colour_class(strip.marker)}});
  out.element("title", {}, strip.name + ": " + fixed(summary.mean, 4) + " ± " + fixed(summary.deviation, 4));
  out.leaf("line", {{"class", "span"},
                    {"x1", x.clamped(summary.mean - summary.deviation)},
                    {"x2", x.clamped(summary.mean + summary.deviation)},
                    {"y1", y},
                    {"y2", y}});
  std::string dots, arrows;
  for (const double value : strip.values) {
    const double place = x.clamped(value);
    if (value > x.domain().high) {
      arrows += "M" + coordinate(place - 6) + " " + coordinate(y - 4) + "l7 4l-7 4";
    } else if (value < x.domain().low) {
      arrows += "M" + coordinate(place + 6) + " " + coordinate(y - 4) + "l-7 4l7 4";
    } else {
      dots += appearance.marker_path(strip.marker, place, y, 3.6);
    }
  }
  if (!dots.empty()) out.leaf("path", {{"class", "dot soft"}, {"d", dots}});
  if (!arrows.empty()) out.leaf("path", {{"class", "line"}, {"d", arrows}});
  const double mean = x.clamped(summary.mean);
  out.leaf("line", {{"class", "mean"}, {"x1", mean}, {"x2", mean}, {"y1", y - 7}, {"y2", y + 7}});
  out.close();
  out.element("text", {{"class", "value"}, {"x", frame.width - 2}, {"y", y + 4}, {"text-anchor", "end"}},
              fixed(summary.mean, 3));
}

}  // namespace

Markup StripPlot::svg(const Appearance& appearance) const {
  std::vector<const Strip*> shown;
  std::vector<double> values;
  double name_width = 40;
  for (const Strip& strip : strips) {
    if (strip.values.empty()) continue;
    shown.push_back(&strip);
    values.insert(values.end(), strip.values.begin(), strip.values.end());
    name_width = std::max(name_width, text_width(strip.name));
  }
  if (shown.empty()) return {};
  SvgFrame frame;
  frame.width = kWidth;
  frame.plot = {std::min(name_width, kMaxNameWidth) + 14, kTop, kWidth - kRight,
                kTop + kRowHeight * static_cast<double>(shown.size())};
  frame.height = frame.plot.bottom + kBottom;
  const Scale x(ScaleKind::linear, domain_of(values), {frame.plot.left, frame.plot.right});

  Markup out;
  open_svg(out, frame, id, title, description);
  draw_x_axis(out, frame, x, x.ticks(4), axis_title);
  if (reference) draw_x_reference(out, frame, x.clamped(*reference), reference_name);
  double y = frame.plot.top + kRowHeight / 2;
  for (const Strip* strip : shown) {
    draw_strip(out, *strip, x, frame, y, appearance);
    y += kRowHeight;
  }
  return out.close();
}

}  // namespace rosa::report
