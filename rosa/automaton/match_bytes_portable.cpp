#include "rosa/automaton/match_bytes.h"
#include "rosa/automaton/simd_portable.h"
#include "rosa/automaton/statistics_pass.h"

namespace rosa::automaton {

const MatcherCode kPortableCode{match_bytes<PortableSimd>, add_statistics<PortableSimd, uint8_t>};

size_t byte_matching_workspace(int32_t size) {
  size_t num_bytes =
      std::max(BatchAutomaton<PortableSimd, RowEdges<PortableSimd, kMaxRowSymbols>>::workspace_bytes(size),
               BatchAutomaton<PortableSimd, ListEdges<PortableSimd>>::workspace_bytes(size));
  for (const int32_t bits : {1, 2, 4, 8}) {
    num_bytes = std::max(num_bytes, chain_ladder(size, bits).workspace_bytes(size) + 2 * packed_workspace(size, bits) +
                                        2 * PrefixHashes::workspace_bytes(size));
  }
  return num_bytes;
}

}  // namespace rosa::automaton
