// A section of a page of runs: pictures, then the numbers beside them.
#pragma once

#include <string>
#include <vector>

#include "report/appearance.h"
#include "report/markup.h"
#include "report/table.h"

namespace rosa::report {

struct Section {
  std::string title, explanation;
  std::vector<Markup> panels;
  std::vector<Table> tables;
  bool is_folded = false;      // the tables open on demand
  bool is_needed = false;      // shown also where it holds nothing but its explanation
  Appearance appearance = {};  // of the names in its tables

  bool has_pictures() const;
  bool empty() const;
  Markup html() const;
  // Heading and tables; empty for one without a table.
  std::string markdown() const;
};

// A picture with its title above it.
Markup panel(const std::string& title, const Markup& picture);

}  // namespace rosa::report
