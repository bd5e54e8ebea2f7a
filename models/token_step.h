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
#include "models/causal_model.h"
#include "models/text_state.h"

namespace rosa::models {

class TokenStep {
 public:
  // Keeps references. `adapters` and `executor` may be null, both.
  TokenStep(const CausalModel& model, const AdapterSet* adapters, HostExecutor* executor);

  // Whether run() and logits() can: all weights on the CPU, in one of the two dtypes, adapters in float32.
  bool is_possible() const;

  // Tokens that come next in a text, at most KeyValueCache::kMaxTogether.
  struct Tokens {
    TextState* text;
    std::span<const int64_t> ids;
    // Of the text that a rotation which depends on the length is to see; 0: for each token, up to itself.
    int64_t rotary_length = 0;
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
  // What the automata of a layer gave, a token behind the other.
  struct Retrieved {
    at::Tensor bits;     // float32 [count,H,M]
    at::Tensor matched;  // bool [count,H]
    at::Tensor lengths;  // [count,H], where a gate wants them
  };
  // The two halves of an adapter: `first_input` [count,hidden] only with mixed queries, `gate_input` only with gates.
  Retrieved retrieve(int64_t layer, std::span<const Tokens> tokens, const float* normed, const float* first_input,
                     int64_t count) const;
  void adapter_output(int64_t layer, const Retrieved& retrieved, const float* gate_input, int64_t count,
                      float* output) const;
  void add_bias(int64_t layer, const char* name, at::Tensor& rows) const;
  // What the low-rank adaptation of the projection, if it has one, adds to its output [count, outputs].
  void add_low_rank(int64_t layer, Projection projection, const float* input, int64_t count, float* output) const;
  // [count, heads]
  std::vector<float> gates(int64_t layer, const Retrieved& retrieved, const float* input, int64_t count) const;
  const float* of_adapter(int64_t layer, const char* name) const;

  const CausalModel& model_;
  const AdapterSet* adapters_;
  HostExecutor* executor_;
  at::Tensor frequencies_;  // of the rotation, float32 [head_dim / 2]
};

}  // namespace rosa::models
