// What the charts share: the SVG element with its title and description, the axes with their grid, the clipping of the
// plot.
#pragma once

#include <string>
#include <vector>

#include "report/markup.h"
#include "report/scale.h"

namespace rosa::report {

struct PlotArea {
  double left = 0, top = 0, right = 0, bottom = 0;
};

struct SvgFrame {
  double width = 0, height = 0;  // in units of the drawing, which scales with the page
  PlotArea plot;
};

constexpr double kMinTickDistance = 34;

// About as wide as a text of the page's font may be, at the size it has on narrow screens.
double text_width(const std::string& text);

// `text`, cut with an ellipsis where it may be wider than `width`.
std::string shortened(const std::string& text, double width);

// <svg> with title and description; the caller closes it. `id` is unique on the page.
void open_svg(Markup& out, const SvgFrame& frame, const std::string& id, const std::string& title,
              const std::string& description);
// <g> in which nothing is drawn outside the plot; the caller closes it.
void open_clip(Markup& out, const SvgFrame& frame, const std::string& id);

void draw_x_axis(Markup& out, const SvgFrame& frame, const Scale& scale, const std::vector<Tick>& ticks,
                 const std::string& title);
// A dashed line from the top of the plot to its bottom at the coordinate x, its name above it.
void draw_x_reference(Markup& out, const SvgFrame& frame, double x, const std::string& name);
// Nothing to see: what a pointer between two x finds, over the whole height of the plot.
void draw_hover(Markup& out, double left, double right, const PlotArea& plot, const std::string& text);
void draw_y_axis(Markup& out, const SvgFrame& frame, const Scale& scale, const std::vector<Tick>& ticks,
                 const std::string& title);

}  // namespace rosa::report
