#include "training/data/token_statistics.h"

#include <algorithm>
#include <bit>
#include <span>
#include <unordered_map>

namespace rosa::training {

TokenStatistics statistics_of(const TokenFile& file, int64_t num_top, int64_t max_tokens) {
  TokenStatistics result;
  const auto starts = file.document_starts();
  std::vector<uint64_t> lengths;
  for (size_t d = 0; d + 1 < starts.size(); ++d) {
    const uint64_t length = starts[d + 1] - starts[d];
    lengths.push_back(length);
    const auto bucket = static_cast<size_t>(std::bit_width(length) - 1);
    if (result.lengths.size() <= bucket) result.lengths.resize(bucket + 1);
    ++result.lengths[bucket];
  }
  const auto middle = lengths.begin() + static_cast<std::ptrdiff_t>(lengths.size() / 2);
  std::nth_element(lengths.begin(), middle, lengths.end());
  result.median = static_cast<int64_t>(*middle);
  result.shortest = static_cast<int64_t>(*std::min_element(lengths.begin(), lengths.end()));
  result.longest = static_cast<int64_t>(*std::max_element(lengths.begin(), lengths.end()));
  result.num_looked_at = std::min(max_tokens, file.num_tokens());
  std::unordered_map<int64_t, int64_t> counts;
  std::vector<int64_t> tokens;
  constexpr int64_t kAtOnce = 1 << 16;
  for (int64_t first = 0; first < result.num_looked_at; first += kAtOnce) {
    tokens.resize(static_cast<size_t>(std::min(kAtOnce, result.num_looked_at - first)));
    file.read(first, tokens);
    for (const int64_t token : tokens) ++counts[token];
  }
  for (int64_t t = 0; t < result.num_looked_at; ++t) result.num_counted += file.counts(t) ? 1 : 0;
  result.num_distinct = static_cast<int64_t>(counts.size());
  result.top_tokens.assign(counts.begin(), counts.end());
  std::sort(result.top_tokens.begin(), result.top_tokens.end(), [](const auto& left, const auto& right) {
    return left.second != right.second ? left.second > right.second : left.first < right.first;
  });
  if (static_cast<int64_t>(result.top_tokens.size()) > num_top) result.top_tokens.resize(static_cast<size_t>(num_top));
  return result;
}

}  // namespace rosa::training
