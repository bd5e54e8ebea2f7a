// Compiled for x86-64-v3.
#include "rosa/automaton/match_bytes.h"
#include "rosa/automaton/simd_avx2.h"
#include "rosa/automaton/statistics_pass.h"

namespace rosa::automaton {

const MatcherCode kAvx2Code{match_bytes<Avx2Simd>, add_statistics<Avx2Simd, uint8_t>};

}  // namespace rosa::automaton
