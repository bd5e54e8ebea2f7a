#include "rosa/automaton/matcher.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "rosa/automaton/narrow_symbols.h"
#include "rosa/automaton/statistics_pass.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::automaton {
namespace {

constexpr size_t kMaxSize = size_t{1} << 30;

void check_spans(size_t num_queries, size_t num_keys, std::span<int32_t> positions, std::span<int32_t> lengths,
                 std::span<const int32_t> document_starts, const MatchStatistics* statistics) {
  base::require(num_queries == num_keys && num_queries == positions.size(),
                "Matcher: query, key and positions differ in length: ", num_queries, ", ", num_keys, ", ",
                positions.size());
  base::require(lengths.empty() || lengths.size() == num_queries, "Matcher: got ", lengths.size(),
                " lengths, expected none or ", num_queries);
  base::require(statistics == nullptr || lengths.size() == num_queries,
                "Matcher: got no lengths, expected them where statistics are wanted");
  base::require(num_queries <= kMaxSize, "Matcher: got ", num_queries, " symbols, expected at most ", kMaxSize);
  for (size_t i = 0; i < document_starts.size(); ++i) {
    const int64_t start = document_starts[i];
    const bool fits = i == 0 ? start == 0 : start > document_starts[i - 1] && start < static_cast<int64_t>(num_keys);
    base::require(fits, "Matcher: document ", i, " starts at ", start,
                  "; expected ascending positions from 0, all inside the sequence of ", num_keys);
  }
}

// The way for large alphabets.
template <class Symbol>
void match_streaming(std::span<const Symbol> query, std::span<const Symbol> key, int32_t first, int32_t* positions,
                     int32_t* lengths) {
  StreamingMatcher stream;
  for (size_t t = 0; t < query.size(); ++t) {
    const Match match = stream.append(query[t], key[t]);
    positions[t] = match.length > 0 ? match.position + first : -1;
    if (lengths != nullptr) lengths[t] = match.length;
  }
}

}  // namespace

Matcher::Matcher(CpuLevel level) : code_(&matcher_code(level)) {}

template <class Symbol>
void Matcher::add_to(MatchStatistics* statistics, std::span<const Symbol> query, std::span<const Symbol> key,
                     std::span<const int32_t> lengths) const {
  if (statistics == nullptr) return;
  if constexpr (sizeof(Symbol) == 1) {
    code_->add_statistics(query, key, lengths, *statistics);
  } else {
    add_statistics<Matcher>(query, key, lengths, *statistics);
  }
}

template <class Symbol>
void Matcher::match(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                    std::span<int32_t> lengths, std::span<const int32_t> document_starts, MatchStatistics* statistics) {
  check_spans(query.size(), key.size(), positions, lengths, document_starts, statistics);
  for_each_document(query.size(), document_starts, [&](size_t first, size_t end) {
    match_document(query.subspan(first, end - first), key.subspan(first, end - first), static_cast<int32_t>(first),
                   positions.data() + first, lengths.empty() ? nullptr : lengths.data() + first);
  });
  add_to(statistics, query, key, lengths);
}

template <class Symbol>
void Matcher::match_document(std::span<const Symbol> query, std::span<const Symbol> key, int32_t first,
                             int32_t* positions, int32_t* lengths) {
  const auto size = static_cast<int32_t>(query.size());
  if (size == 0) return;
  if (size > kMaxByteDocument) return match_streaming(query, key, first, positions, lengths);
  // The padding is read as part of whole vectors; zeros before the symbols are also the contexts' padding.
  workspace_.reserve(2 * padded_workspace(query.size()) + byte_matching_workspace(size));
  uint8_t* narrow_query = take_padded(query.size(), workspace_);
  uint8_t* narrow_key = take_padded(key.size(), workspace_);
  if (!narrow(query, key, narrow_query, narrow_key)) return match_streaming(query, key, first, positions, lengths);
  const ByteDocument document{narrow_query, narrow_key, size,   bits_of(narrow_query, narrow_key, size),
                              first,        positions,  lengths};
  code_->match_bytes(document, workspace_, work_);
}

template <class Symbol>
void Matcher::match_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                           std::span<int32_t> lengths, std::span<const int32_t> document_starts, const bool* mask,
                           int64_t row_stride, MatchStatistics* statistics) {
  check_spans(query.size(), key.size(), positions, lengths, document_starts, statistics);
  const auto size = static_cast<int64_t>(query.size());
  base::require(size == 0 || (mask != nullptr && row_stride >= size), "Matcher: got a mask with row stride ",
                row_stride, ", expected at least ", size);
  std::vector<int32_t> row;  // row[i - first] = match length of (t, i)
  for_each_document(query.size(), document_starts, [&](size_t first, size_t end) {
    row.assign(end - first, 0);
    for (size_t t = first; t < end; ++t) {
      int32_t best = 0;
      int32_t position = -1;
      // Downwards: row[i - 1] is still that of t - 1, and the first of equal lengths is the latest.
      for (size_t i = t; i-- > first;) {
        const int32_t before = i > first ? row[i - first - 1] : 0;
        const bool equal = query[t] == key[i] && mask[static_cast<int64_t>(t) * row_stride + static_cast<int64_t>(i)];
        row[i - first] = equal ? before + 1 : 0;
        if (row[i - first] > best) {
          best = row[i - first];
          position = static_cast<int32_t>(i);
        }
      }
      positions[t] = position;
      if (!lengths.empty()) lengths[t] = best;
    }
  });
  add_to(statistics, query, key, lengths);
}

#define ROSA_INSTANTIATE(Symbol)                                                                            \
  template void Matcher::match(std::span<const Symbol>, std::span<const Symbol>, std::span<int32_t>,        \
                               std::span<int32_t>, std::span<const int32_t>, MatchStatistics*);             \
  template void Matcher::match_masked(std::span<const Symbol>, std::span<const Symbol>, std::span<int32_t>, \
                                      std::span<int32_t>, std::span<const int32_t>, const bool*, int64_t,   \
                                      MatchStatistics*)
ROSA_INSTANTIATE(uint8_t);
ROSA_INSTANTIATE(uint64_t);
#undef ROSA_INSTANTIATE

}  // namespace rosa::automaton
