// The symbol sequences that matchers are timed on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rosa::bench {

using Symbols = std::vector<uint8_t>;

// The families' names.
const std::vector<std::string>& sequence_families();

// Returns `size` symbols of 1 to 8 bits. Equal seeds give equal sequences. "text" reads the program's own sources.
Symbols make_sequence(const std::string& family, int64_t size, int bits, uint64_t seed);

}  // namespace rosa::bench
