// Compiled for x86-64-v4.
#include "rosa/automaton/match_bytes.h"
#include "rosa/automaton/simd_avx512.h"
#include "rosa/automaton/statistics_pass.h"

namespace rosa::automaton {

const MatcherCode kAvx512Code{match_bytes<Avx512Simd>, add_statistics<Avx512Simd, uint8_t>};

}  // namespace rosa::automaton
