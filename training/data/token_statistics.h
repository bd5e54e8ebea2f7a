// What is in a token file: counts for `rosa data show`.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "training/data/token_file.h"

namespace rosa::training {

struct TokenStatistics {
  int64_t shortest = 0, median = 0, longest = 0;  // tokens of a document
  // Documents of 2^i to 2^(i+1) - 1 tokens, by i.
  std::vector<int64_t> lengths;
  // The most frequent tokens and how often they stand there, of the first `num_looked_at` tokens.
  std::vector<std::pair<int64_t, int64_t>> top_tokens;
  int64_t num_looked_at = 0;
  int64_t num_distinct = 0;
  int64_t num_counted = 0;  // that count in the loss
};

// Looks at `max_tokens` tokens at most; lengths are of all documents. Throws DataError.
TokenStatistics statistics_of(const TokenFile& file, int64_t num_top, int64_t max_tokens);

}  // namespace rosa::training
