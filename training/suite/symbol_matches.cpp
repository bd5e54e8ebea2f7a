#include "training/suite/symbol_matches.h"

#include "rosa/automaton/matcher.h"
#include "rosa/operator/document_runs.h"

namespace rosa::training {

std::vector<int32_t> document_starts(const Batch& batch) {
  std::vector<int32_t> starts;
  for (const auto& [begin, end] : document_runs(batch.documents, /*row=*/0, batch.input_ids.size(1))) {
    starts.push_back(static_cast<int32_t>(begin));
  }
  return starts;
}

SymbolMatches match_symbols(std::span<const uint64_t> symbols, std::span<const int32_t> document_starts) {
  return match_symbols(symbols, symbols, document_starts);
}

SymbolMatches match_symbols(std::span<const uint64_t> queries, std::span<const uint64_t> keys,
                            std::span<const int32_t> document_starts) {
  SymbolMatches matches;
  matches.positions.resize(queries.size());
  matches.lengths.resize(queries.size());
  automaton::Matcher().match<uint64_t>(queries, keys, matches.positions, matches.lengths, document_starts);
  return matches;
}

SymbolMatches match_tokens(const Batch& batch) {
  const int64_t* ids = batch.input_ids.const_data_ptr<int64_t>();
  return match_symbols(std::vector<uint64_t>(ids, ids + batch.input_ids.numel()), document_starts(batch));
}

void take_longer(SymbolMatches& best, const SymbolMatches& other) {
  if (best.lengths.empty()) best = other;
  for (size_t t = 0; t < best.lengths.size(); ++t) {
    const bool is_better = other.lengths[t] > best.lengths[t] ||
                           (other.lengths[t] == best.lengths[t] && other.positions[t] > best.positions[t]);
    if (!is_better) continue;
    best.lengths[t] = other.lengths[t];
    best.positions[t] = other.positions[t];
  }
}

}  // namespace rosa::training
