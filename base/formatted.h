// Numbers in a text of fixed form.
#pragma once

#include <string>

namespace rosa::base {

// What printf would print, whatever its length.
__attribute__((format(printf, 1, 2))) std::string formatted(const char* pattern, ...);

}  // namespace rosa::base
