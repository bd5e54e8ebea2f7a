#include "text/encode_batch.h"

#include <algorithm>

namespace rosa::text {

std::vector<std::vector<int64_t>> encode_batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                                               const EncodeOptions& options, base::ThreadPool& pool) {
  std::vector<std::vector<int64_t>> ids(texts.size());
  // Short texts are taken several at a time: handing out one costs more than some take.
  constexpr int64_t kTextsAtOnce = 16;
  const auto num_texts = static_cast<int64_t>(texts.size());
  pool.parallel_for((num_texts + kTextsAtOnce - 1) / kTextsAtOnce, [&](int64_t group) {
    const int64_t end = std::min(num_texts, (group + 1) * kTextsAtOnce);
    for (int64_t i = group * kTextsAtOnce; i < end; ++i) {
      tokenizer.encode(texts[static_cast<size_t>(i)], options, ids[static_cast<size_t>(i)]);
    }
  });
  return ids;
}

}  // namespace rosa::text
