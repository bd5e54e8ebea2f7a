// HeatMap: a value of several rows over steps, or over named columns, as one SVG, in shades of one colour with a
// legend. Its cells are drawn as a few paths, one a shade, so that a picture of many cells stays small; a pointer over
// a column is told all its values. Colours: style.cpp.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "report/markup.h"
#include "report/scale.h"

namespace rosa::report {

struct HeatRow {
  std::string name;
  std::vector<std::optional<double>> values;  // one a column; nothing: no cell
  std::vector<bool> is_marked;                // one a column; with a cross
  std::vector<std::string> texts = {};        // one a column: what a pointer is told; empty: the values
};

struct HeatMap {
  static constexpr int kNumShades = 10;

  std::string id;  // unique on the page
  std::string title, description, x_title;
  std::vector<Interval> columns;               // ascending
  std::vector<std::string> column_names = {};  // in the place of `columns`: equally wide, each with its name
  Interval values;                             // what the first and the last shade stand for
  std::vector<HeatRow> rows;
  std::string mark_name;  // what a cross means
  std::function<std::string(double)> value_text;

  // Throws ArgumentError where there are no columns, or both kinds, or a row has another number of them.
  Markup svg() const;
};

}  // namespace rosa::report
