// Compiled for x86-64-v4.
#include "rosa/automaton/match_bytes.h"
#include "rosa/automaton/simd_avx512.h"

namespace rosa::automaton {

void match_bytes_avx512(const ByteDocument& document, Workspace& workspace, MatchingWork& work) {
  match_bytes<Avx512Simd>(document, workspace, work);
}

}  // namespace rosa::automaton
