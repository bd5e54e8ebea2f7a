// The style sheet of a report's page: light and dark, narrow and wide.
#pragma once

#include <string>
#include <string_view>

namespace rosa::report {

std::string_view style_sheet();
// With what only pages of runs show: heat maps, stacked areas, marks of events, tables of texts.
std::string run_style_sheet();

}  // namespace rosa::report
