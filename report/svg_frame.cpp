#include "report/svg_frame.h"

#include <algorithm>

namespace rosa::report {
namespace {

constexpr double kCharacterWidth = 7.6;  // a mean over the letters of names at 14 units

}  // namespace

double text_width(const std::string& text) { return kCharacterWidth * static_cast<double>(characters(text).size()); }

std::string shortened(const std::string& text, double width) {
  if (text_width(text) <= width) return text;
  const auto kept = static_cast<std::size_t>(std::max(1.0, width / kCharacterWidth - 1));
  const std::vector<std::string_view> all = characters(text);
  std::string out;
  for (std::size_t i = 0; i < std::min(kept, all.size()); ++i) out += all[i];
  return out + "\u2026";
}

void open_svg(Markup& out, const SvgFrame& frame, const std::string& id, const std::string& title,
              const std::string& description) {
  out.open("svg", {{"xmlns", "http://www.w3.org/2000/svg"},
                   {"class", "chart"},
                   {"viewBox", "0 0 " + coordinate(frame.width) + " " + coordinate(frame.height)},
                   {"role", "img"},
                   {"aria-labelledby", id + "-title " + id + "-desc"}});
  out.element("title", {{"id", id + "-title"}}, title);
  out.element("desc", {{"id", id + "-desc"}}, description);
}

void open_clip(Markup& out, const SvgFrame& frame, const std::string& id) {
  const PlotArea& plot = frame.plot;
  out.open("clipPath", {{"id", id + "-clip"}});
  // Room for a mark on the edge.
  out.leaf("rect", {{"x", plot.left - 4},
                    {"y", plot.top - 4},
                    {"width", plot.right - plot.left + 8},
                    {"height", plot.bottom - plot.top + 8}});
  out.close();
  out.open("g", {{"clip-path", "url(#" + id + "-clip)"}});
}

void draw_x_axis(Markup& out, const SvgFrame& frame, const Scale& scale, const std::vector<Tick>& ticks,
                 const std::string& title) {
  const PlotArea& plot = frame.plot;
  for (const Tick& tick : ticks) {
    const double x = scale(tick.value);
    out.leaf("line", {{"class", "grid"}, {"x1", x}, {"x2", x}, {"y1", plot.top}, {"y2", plot.bottom}});
    out.element("text", {{"class", "tick"}, {"x", x}, {"y", plot.bottom + 17}, {"text-anchor", "middle"}}, tick.label);
  }
  out.leaf("line",
           {{"class", "axis"}, {"x1", plot.left}, {"x2", plot.right}, {"y1", plot.bottom}, {"y2", plot.bottom}});
  const double middle = (plot.left + plot.right) / 2;
  out.element("text", {{"class", "axis-title"}, {"x", middle}, {"y", plot.bottom + 36}, {"text-anchor", "middle"}},
              title);
}

void draw_x_reference(Markup& out, const SvgFrame& frame, double x, const std::string& name) {
  const PlotArea& plot = frame.plot;
  out.leaf("line", {{"class", "reference"}, {"x1", x}, {"x2", x}, {"y1", plot.top - 6}, {"y2", plot.bottom}});
  const double place = std::min(x, frame.width - text_width(name) / 2);
  out.element("text", {{"class", "label"}, {"x", place}, {"y", plot.top - 11}, {"text-anchor", "middle"}}, name);
}

void draw_hover(Markup& out, double left, double right, const PlotArea& plot, const std::string& text) {
  out.open("path", {{"d", "M" + coordinate(left) + " " + coordinate(plot.top) + "H" + coordinate(right) + "V" +
                              coordinate(plot.bottom) + "H" + coordinate(left) + "Z"}});
  out.element("title", {}, text).close();
}

void draw_y_axis(Markup& out, const SvgFrame& frame, const Scale& scale, const std::vector<Tick>& ticks,
                 const std::string& title) {
  const PlotArea& plot = frame.plot;
  for (const Tick& tick : ticks) {
    const double y = scale(tick.value);
    out.leaf("line", {{"class", "grid"}, {"x1", plot.left}, {"x2", plot.right}, {"y1", y}, {"y2", y}});
    out.element("text", {{"class", "tick"}, {"x", plot.left - 7}, {"y", y + 4}, {"text-anchor", "end"}}, tick.label);
  }
  out.element("text", {{"class", "axis-title"}, {"x", 2.0}, {"y", plot.top - 15}}, title);
}

}  // namespace rosa::report
