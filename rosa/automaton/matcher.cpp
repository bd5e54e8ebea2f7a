#include "rosa/automaton/matcher.h"

#include <vector>

#include "base/error.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::automaton {
namespace {

constexpr size_t kMaxSize = size_t{1} << 30;

void check_spans(size_t num_queries, size_t num_keys, std::span<int32_t> positions, std::span<int32_t> lengths,
                 std::span<const int32_t> document_starts) {
  base::require(num_queries == num_keys && num_queries == positions.size(),
                "Matcher: query, key and positions differ in length: ", num_queries, ", ", num_keys, ", ",
                positions.size());
  base::require(lengths.empty() || lengths.size() == num_queries, "Matcher: got ", lengths.size(),
                " lengths, expected none or ", num_queries);
  base::require(num_queries <= kMaxSize, "Matcher: got ", num_queries, " symbols, expected at most ", kMaxSize);
  for (size_t i = 0; i < document_starts.size(); ++i) {
    const int64_t start = document_starts[i];
    const bool fits = i == 0 ? start == 0 : start > document_starts[i - 1] && start < static_cast<int64_t>(num_keys);
    base::require(fits, "Matcher: document ", i, " starts at ", start,
                  "; expected ascending positions from 0, all inside the sequence of ", num_keys);
  }
}

// Calls visit(first, end) for each document.
template <class Visit>
void for_each_document(size_t size, std::span<const int32_t> document_starts, const Visit& visit) {
  if (document_starts.empty()) return visit(size_t{0}, size);
  for (size_t i = 0; i < document_starts.size(); ++i) {
    const size_t end = i + 1 < document_starts.size() ? document_starts[i + 1] : size;
    visit(static_cast<size_t>(document_starts[i]), end);
  }
}

}  // namespace

template <class Symbol>
void Matcher::match(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                    std::span<int32_t> lengths, std::span<const int32_t> document_starts) {
  check_spans(query.size(), key.size(), positions, lengths, document_starts);
  StreamingMatcher stream;
  for_each_document(query.size(), document_starts, [&](size_t first, size_t end) {
    stream.start_document();
    for (size_t t = first; t < end; ++t) {
      const Match match = stream.append(query[t], key[t]);
      positions[t] = match.position;
      if (!lengths.empty()) lengths[t] = match.length;
    }
  });
}

template <class Symbol>
void Matcher::match_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                           std::span<int32_t> lengths, std::span<const int32_t> document_starts, const bool* mask,
                           int64_t row_stride) {
  check_spans(query.size(), key.size(), positions, lengths, document_starts);
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
}

#define ROSA_INSTANTIATE(Symbol)                                                                            \
  template void Matcher::match(std::span<const Symbol>, std::span<const Symbol>, std::span<int32_t>,        \
                               std::span<int32_t>, std::span<const int32_t>);                               \
  template void Matcher::match_masked(std::span<const Symbol>, std::span<const Symbol>, std::span<int32_t>, \
                                      std::span<int32_t>, std::span<const int32_t>, const bool*, int64_t)
ROSA_INSTANTIATE(uint8_t);
ROSA_INSTANTIATE(uint64_t);
#undef ROSA_INSTANTIATE

}  // namespace rosa::automaton
