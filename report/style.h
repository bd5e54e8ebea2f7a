// The style sheet of a report's page: light and dark, narrow and wide.
#pragma once

#include <string_view>

namespace rosa::report {

std::string_view style_sheet();

}  // namespace rosa::report
