// The longest earlier matches in one row of a batch: of its tokens, or of other symbols beside them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "training/data/batch.h"

namespace rosa::training {

// Of each position t, as automaton::Matcher has them for the symbols up to t.
struct SymbolMatches {
  std::vector<int32_t> positions, lengths;  // -1 and 0 where there is none
};

// First positions of the documents of a batch of one row.
std::vector<int32_t> document_starts(const Batch& batch);

// Matches stay inside a document.
SymbolMatches match_symbols(std::span<const uint64_t> symbols, std::span<const int32_t> document_starts);

// As match_symbols, where the queries are other symbols than the keys.
SymbolMatches match_symbols(std::span<const uint64_t> queries, std::span<const uint64_t> keys,
                            std::span<const int32_t> document_starts);

// Those of the tokens of a batch of one row.
SymbolMatches match_tokens(const Batch& batch);

// Takes over what is longer in `other`, and of equally long ones the nearest. Both are of the same row; an empty `best`
// becomes `other`.
void take_longer(SymbolMatches& best, const SymbolMatches& other);

}  // namespace rosa::training
