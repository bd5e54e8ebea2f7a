#include "report/run/section.h"

#include <algorithm>

#include "base/error.h"

namespace rosa::report {

bool Section::has_pictures() const {
  return std::any_of(panels.begin(), panels.end(), [](const Markup& panel) { return !panel.empty(); });
}

bool Section::empty() const {
  return !is_needed && !has_pictures() &&
         std::all_of(tables.begin(), tables.end(), [](const Table& table) { return table.empty(); });
}

Markup Section::html() const {
  Markup out;
  out.open("section").element("h3", {}, title);
  if (!explanation.empty()) out.element("p", {{"class", "note"}}, explanation);
  if (has_pictures()) {
    out.open("figure").open("div", {{"class", "panels"}});
    for (const Markup& panel : panels) out.add(panel);
    out.close().close();
  }
  for (const Table& table : tables) {
    if (table.empty()) continue;
    if (is_folded) out.open("details").element("summary", {}, table.caption());
    out.add(table.html(appearance));
    if (is_folded) out.close();
  }
  return out.close();
}

std::string Section::markdown() const {
  std::string text;
  for (const Table& table : tables) {
    if (table.empty()) continue;
    // Where there are several, each says what it shows.
    if (tables.size() > 1) text += base::concat("\n", markdown_text(table.caption()), ":\n");
    text += base::concat("\n", table.markdown());
  }
  return text.empty() ? "" : base::concat("\n## ", markdown_text(title), "\n", text);
}

Markup panel(const std::string& title, const Markup& picture) {
  Markup out;
  out.open("div", {{"class", "panel"}}).element("p", {{"class", "panel-title"}}, title);
  return out.add(picture).close();
}

}  // namespace rosa::report
