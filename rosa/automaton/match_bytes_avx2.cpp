// Compiled for x86-64-v3.
#include "rosa/automaton/match_bytes.h"
#include "rosa/automaton/simd_avx2.h"

namespace rosa::automaton {

void match_bytes_avx2(const ByteDocument& document, Workspace& workspace, MatchingWork& work) {
  match_bytes<Avx2Simd>(document, workspace, work);
}

}  // namespace rosa::automaton
