// match_bytes: chains as far as their budget goes, then the automaton. Compiled once for each CpuLevel.
#pragma once

#include "rosa/automaton/batch_automaton.h"
#include "rosa/automaton/byte_edges.h"
#include "rosa/automaton/byte_matching.h"
#include "rosa/automaton/chain_search.h"

namespace rosa::automaton {

// Alphabets of at most this many symbols keep the automaton's edges in rows.
inline constexpr int32_t kMaxRowSymbols = 4;

template <class Simd, class Index>
MatchingProgress search_chains(const ByteDocument& document, Workspace& workspace, MatchingWork& work) {
  switch (document.bits) {
    case 1:
      return ChainSearch<Simd, Index, 1>(document, workspace, work).run();
    case 2:
      return ChainSearch<Simd, Index, 2>(document, workspace, work).run();
    case 4:
      return ChainSearch<Simd, Index, 4>(document, workspace, work).run();
    default:
      return ChainSearch<Simd, Index, 8>(document, workspace, work).run();
  }
}

template <class Simd>
void match_bytes(const ByteDocument& document, Workspace& workspace, MatchingWork& work) {
  const size_t taken = workspace.num_bytes_taken();
  const MatchingProgress progress = document.size <= kMaxShortDocument
                                        ? search_chains<Simd, uint16_t>(document, workspace, work)
                                        : search_chains<Simd, uint32_t>(document, workspace, work);
  workspace.rewind(taken);
  if (progress.position == document.size) return;
  ++work.num_fallbacks;
  const auto finish = [&](auto automaton) {
    automaton.run(progress);
    work.num_steps += automaton.num_steps();
  };
  if (1 << document.bits <= kMaxRowSymbols) {
    finish(BatchAutomaton<Simd, RowEdges<Simd, kMaxRowSymbols>>(document, workspace));
  } else {
    finish(BatchAutomaton<Simd, ListEdges<Simd>>(document, workspace));
  }
  workspace.rewind(taken);
}

}  // namespace rosa::automaton
