// QuadraticMatcher: the definition of the hard operator, written down plainly. O(n^2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rosa {

class QuadraticMatcher {
 public:
  template <class Symbol>
  void match(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
             std::span<int32_t> lengths, std::span<const int32_t> document_starts = {}) {
    match_masked(query, key, positions, lengths, document_starts, nullptr, 0);
  }

  template <class Symbol>
  void match_masked(std::span<const Symbol> query, std::span<const Symbol> key, std::span<int32_t> positions,
                    std::span<int32_t> lengths, std::span<const int32_t> document_starts, const bool* mask,
                    int64_t row_stride) {
    const auto size = static_cast<int64_t>(query.size());
    std::vector<int32_t> row(size + 1, 0);  // row[i + 1] = L(t, i)
    size_t next_document = 0;
    int64_t start = 0;
    for (int64_t t = 0; t < size; ++t) {
      if (next_document < document_starts.size() && document_starts[next_document] == t) {
        start = t;
        ++next_document;
      }
      int32_t best = -1, best_length = 0;
      for (int64_t i = t - 1; i >= start; --i) {
        const bool equal = query[t] == key[i] && (mask == nullptr || mask[t * row_stride + i]);
        row[i + 1] = equal ? 1 + (i > start ? row[i] : 0) : 0;
        if (row[i + 1] > best_length) {
          best_length = row[i + 1];
          best = static_cast<int32_t>(i);
        }
      }
      row[t + 1] = 0;
      positions[t] = best;
      if (!lengths.empty()) lengths[t] = best_length;
    }
  }
};

}  // namespace rosa
