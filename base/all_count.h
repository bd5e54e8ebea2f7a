// A count that may be all there is. The configuration writes "all" for it; a field takes the word where its range
// begins at kAll, and otherwise numbers from 1.
#pragma once

#include <cstdint>

namespace rosa::base {

inline constexpr int64_t kAll = -1;

}  // namespace rosa::base
