// Many texts at once, on all threads of a pool.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "text/tokenizer.h"

namespace rosa::text {

// The ids of each text, as encode() gives them. Not to be called from a worker of `pool`.
std::vector<std::vector<int64_t>> encode_batch(const Tokenizer& tokenizer, std::span<const std::string_view> texts,
                                               const EncodeOptions& options, base::ThreadPool& pool);

}  // namespace rosa::text
