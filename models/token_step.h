// TokenStep: the forward of a few tokens on the CPU, of one text or of many. Each token's result is the same bits
// whatever other tokens are computed beside it: alone, behind others of its text, or in a batch.
// Computes in float32, from weights of float32 or bfloat16 as they are.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/adapter.h"
#include "models/qwen3.h"
#include "models/text_state.h"

namespace rosa::models {

class TokenStep {
 public:
  // Keeps references. `adapters` and `executor` may be null, both.
  TokenStep(const Qwen3& model, const AdapterSet* adapters, HostExecutor* executor);

  // Whether run() and logits() can: all weights on the CPU, in one of the two dtypes, adapters in float32.
  bool is_possible() const;

  // Tokens that come next in a text, at most KeyValueCache::kMaxTogether.
  struct Tokens {
    TextState* text;
    std::span<const int64_t> ids;
  };
  // Appends them and returns the hidden states after the final norm, float32 [tokens in all, hidden]. Throws DataError
  // for an id outside the vocabulary, before anything is changed.
  at::Tensor run(std::span<const Tokens> tokens) const;

  // float32 [n,hidden] -> float32 [n,vocab_size].
  at::Tensor logits(const at::Tensor& hidden) const;

 private:
  struct Positions;
  at::Tensor embed(std::span<const Tokens> tokens, int64_t count) const;
  void attention(int64_t layer, std::span<const Tokens> tokens, const Positions& positions, const float* normed,
                 float* output) const;
  void adapter(int64_t layer, std::span<const Tokens> tokens, const float* normed, int64_t count, float* output) const;
  const at::Tensor& weight(int64_t layer, const char* name) const;

  const Qwen3& model_;
  const AdapterSet* adapters_;
  HostExecutor* executor_;
  at::Tensor frequencies_;  // float32 [head_dim / 2]
};

}  // namespace rosa::models
