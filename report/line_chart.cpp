#include "report/line_chart.h"

#include <algorithm>

#include "report/svg_frame.h"

namespace rosa::report {
namespace {

constexpr double kWidth = 460;
constexpr double kLeft = 50, kTop = 30, kBottom = 44, kPlotHeight = 232;
constexpr double kLabelHeight = 15, kLabelGap = 22;
constexpr double kMaxLabelWidth = 178;
constexpr int kYTicks = 6;
constexpr int kNumMarks = 4;  // on a curve without a mark at each point

// A curve's place on the drawing.
struct Placed {
  const Series* series;
  Curve points;  // in coordinates; y downwards
};

struct Label {
  const Placed* curve;
  double y;
};

// Moves labels, in the order of their y, apart and into the range.
void spread(std::vector<Label>& labels, double top, double bottom) {
  std::stable_sort(labels.begin(), labels.end(), [](const Label& a, const Label& b) { return a.y < b.y; });
  double next = top;
  for (Label& label : labels) {
    label.y = std::max(label.y, next);
    next = label.y + kLabelHeight;
  }
  next = bottom;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    label->y = std::min(label->y, next);
    next = label->y - kLabelHeight;
  }
}

Curve placed_points(const LineChart& chart, const Curve& curve, const Scale& x, const Scale& y) {
  Curve points;
  bool is_start = false;
  for (const PlotPoint& point : curve) {
    is_start |= point.is_start;
    if (chart.x.kind == ScaleKind::logarithmic && point.x <= 0) continue;
    if (chart.y.kind == ScaleKind::logarithmic && point.y <= 0) continue;
    if (point.x < x.domain().low || point.x > x.domain().high) continue;
    points.push_back({x(point.x), y(point.y), y.clamped(point.low), y.clamped(point.high), is_start});
    is_start = false;
  }
  return points;
}

std::string path_of(const Curve& points) {
  std::string path;
  for (const PlotPoint& point : points) {
    path += (path.empty() || point.is_start ? "M" : "L") + coordinate(point.x) + " " + coordinate(point.y);
  }
  return path;
}

// The bands between the breaks of a curve.
std::string band_of(const Curve& points) {
  std::string path;
  for (std::size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    for (end = begin; end < points.size() && (end == begin || !points[end].is_start); ++end) {
      path += (end == begin ? "M" : "L") + coordinate(points[end].x) + " " + coordinate(points[end].high);
    }
    for (std::size_t i = end; i-- > begin;) path += "L" + coordinate(points[i].x) + " " + coordinate(points[i].low);
    path += "Z";
  }
  return path;
}

std::string_view class_of_band(SeriesStyle style) {
  switch (style) {
    case SeriesStyle::faint:
      return "band faint";
    case SeriesStyle::area:
      return "area";
    case SeriesStyle::line:
      break;
  }
  return "band";
}

// Invisible, over the whole height: what a pointer finds there.
void draw_hovers(Markup& out, const std::vector<Hover>& hovers, const Scale& x, const PlotArea& plot) {
  if (hovers.empty()) return;
  out.open("g", {{"class", "hover"}});
  for (const Hover& hover : hovers) {
    draw_hover(out, x.clamped(hover.part.low), x.clamped(hover.part.high), plot, hover.text);
  }
  out.close();
}

void draw_events(Markup& out, const std::vector<EventMark>& events, const Scale& x, const PlotArea& plot) {
  for (const EventMark& event : events) {
    out.open("g", {{"class", "event " + event.kind}});
    out.element("title", {}, event.text);
    const std::string place = coordinate(x.clamped(event.x));
    out.leaf("path", {{"class", "event-line"},
                      {"d", "M" + place + " " + coordinate(plot.top) + "V" + coordinate(plot.bottom)}});
    out.leaf("path", {{"class", "event-mark"}, {"d", "M" + place + " " + coordinate(plot.top + 2) + "l-4.5 -8l9 0z"}});
    out.close();
  }
}

void draw_curve(Markup& out, const Placed& placed, std::size_t order, const Appearance& appearance) {
  const Series& series = *placed.series;
  const Curve& points = placed.points;
  out.open("g", {{"class", appearance.colour_class(series.marker)}});
  out.element("title", {}, series.name);
  const bool has_band = std::any_of(points.begin(), points.end(), [](const auto& p) { return p.low != p.high; });
  if (has_band) out.leaf("path", {{"class", class_of_band(series.style)}, {"d", band_of(points)}});
  if (series.style != SeriesStyle::line) {
    if (series.style == SeriesStyle::faint) out.leaf("path", {{"class", "line faint"}, {"d", path_of(points)}});
    out.close();
    return;
  }
  Attributes attributes = {{"class", series.marker == "none" ? "line control" : "line"}, {"d", path_of(points)}};
  if (!series.dash.empty()) attributes.emplace_back("stroke-dasharray", std::string_view(series.dash));
  out.leaf("path", attributes);
  // Marks of different curves stand at different places, so that crossing curves stay apart.
  const std::size_t stride = series.marks_points ? 1 : std::max<std::size_t>(1, points.size() / kNumMarks);
  std::string marks;
  for (std::size_t i = series.marks_points ? 0 : order * 3 % stride; i < points.size(); i += stride) {
    marks += appearance.marker_path(series.marker, points[i].x, points[i].y, 3.4);
  }
  out.leaf("path", {{"class", "dot"}, {"d", marks}});
  out.close();
}

void draw_label(Markup& out, const Label& label, double plot_right, double label_x, const Appearance& appearance) {
  const Series& series = *label.curve->series;
  const PlotPoint& end = label.curve->points.back();
  out.open("g", {{"class", appearance.colour_class(series.marker)}});
  // Dotted across the plot, where a line could be taken for data.
  const std::string level = " " + coordinate(end.y);
  if (end.x < plot_right - 1) {
    const std::string across = "M" + coordinate(end.x) + level + "H" + coordinate(plot_right);
    out.leaf("path", {{"class", "leader"}, {"stroke-dasharray", "1 5"}, {"d", across}});
  }
  const std::string leader = "M" + coordinate(plot_right) + level + "H" + coordinate(plot_right + 4) + "L" +
                             coordinate(label_x - 14) + " " + coordinate(label.y);
  out.leaf("path", {{"class", "leader"}, {"d", leader}});
  out.leaf("path", {{"class", "dot"}, {"d", appearance.marker_path(series.marker, label_x - 8, label.y, 3.4)}});
  out.close();
  out.element("text", {{"class", "label"}, {"x", label_x}, {"y", label.y + 4}}, shortened(series.name, kMaxLabelWidth));
}

}  // namespace

Markup LineChart::svg(const Appearance& appearance) const {
  double label_width = 0;
  std::size_t num_labels = 0;
  for (const Series& one : series) {
    if (one.style == SeriesStyle::faint) continue;
    label_width = std::max(label_width, text_width(one.name));
    ++num_labels;
  }
  const double right = std::min(label_width, kMaxLabelWidth) + kLabelGap + 6;
  const double labels_height = static_cast<double>(num_labels) * kLabelHeight;
  SvgFrame frame;
  frame.width = kWidth;
  frame.plot = {kLeft, kTop, kWidth - right, kTop + std::max(kPlotHeight, labels_height)};
  frame.height = frame.plot.bottom + kBottom;
  const Scale x_scale(x.kind, x.domain, {frame.plot.left, frame.plot.right});
  const Scale y_scale(y.kind, y.domain, {frame.plot.bottom, frame.plot.top});

  Markup out;
  open_svg(out, frame, id, title, description);
  const std::vector<Tick> x_ticks =
      x.tick_values.empty() ? x_scale.ticks(5) : x_scale.ticks_at(x.tick_values, kMinTickDistance);
  draw_x_axis(out, frame, x_scale, x_ticks, x.title);
  draw_y_axis(out, frame, y_scale, y_scale.ticks(kYTicks), y.title);
  if (x_reference) draw_x_reference(out, frame, x_scale(*x_reference), x_reference_name);

  std::vector<Placed> placed;
  for (const Series& one : series) {
    Curve points = placed_points(*this, one.curve, x_scale, y_scale);
    if (!points.empty()) placed.push_back({&one, std::move(points)});
  }
  open_clip(out, frame, id);
  for (std::size_t i = 0; i < placed.size(); ++i) draw_curve(out, placed[i], i, appearance);
  out.close();
  draw_hovers(out, hovers, x_scale, frame.plot);
  draw_events(out, events, x_scale, frame.plot);
  std::vector<Label> labels;
  for (Placed& one : placed) {
    if (one.series->style == SeriesStyle::faint) continue;
    PlotPoint& end = one.points.back();
    end.y = std::clamp(end.y, frame.plot.top, frame.plot.bottom);
    labels.push_back({&one, end.y});
  }
  spread(labels, frame.plot.top, frame.plot.bottom);
  for (const Label& label : labels) {
    draw_label(out, label, frame.plot.right, frame.plot.right + kLabelGap, appearance);
  }
  return out.close();
}

}  // namespace rosa::report
