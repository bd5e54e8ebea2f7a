// Table: rows of finished texts under grouped columns, written as HTML or as Markdown. Decides nothing about its
// content.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/appearance.h"
#include "report/markup.h"

namespace rosa::report {

struct Column {
  std::string group;  // neighbours of the same group share a heading; may be empty
  std::string title;
};

struct Cell {
  std::string text;    // empty: there is no value
  std::string spread;  // what follows the sign +-; may be empty
  bool is_best = false;
};

struct Row {
  std::string name;
  std::string marker;  // a name of Appearance, whose swatch stands before `name`; may be empty
  bool is_control = false;
  std::vector<Cell> cells;
};

enum class Best { lowest, highest };

class Table {
 public:
  Table(std::string caption, std::string heading, std::vector<Column> columns)
      : caption_(std::move(caption)), heading_(std::move(heading)), columns_(std::move(columns)) {}

  // Throws ArgumentError unless the row has a cell for every column.
  void add(Row row);
  // Marks the cells of a column with the best of `values` (one a row; nothing: does not take part), where at least two
  // take part.
  void mark_best(std::size_t column, const std::vector<std::optional<double>>& values, Best best);
  // Columns without any value go.
  void drop_empty_columns();

  // Its cells are texts: they begin at the left and may be broken.
  void set_holds_texts() { holds_texts_ = true; }

  bool empty() const { return rows_.empty() || columns_.empty(); }
  const std::string& caption() const { return caption_; }
  // In a box of its own that scrolls sideways; the names stay in sight.
  Markup html(const Appearance& appearance) const;
  std::string markdown() const;

 private:
  Markup head() const;

  std::string caption_, heading_;
  std::vector<Column> columns_;
  std::vector<Row> rows_;
  bool holds_texts_ = false;
};

}  // namespace rosa::report
