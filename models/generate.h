// Incremental generation: each new token costs one step of the layers, whatever stands before it.
// Teacher (growing key/value caches) and student (a ring of the window, and the adapters' streaming states) alike.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/fields.h"
#include "models/qwen3.h"

namespace rosa::models {

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  bool sample = false;
  double temperature = 1;
  int64_t top_k = 0;
  double top_p = 1;
  int64_t seed = 0;
  std::vector<int64_t> stop_tokens;
};

void describe(base::FieldVisitor& visitor, GenerateOptions& options);

// A batch of texts of equal length that grow together. Keeps references to the model and what the options point to.
class Generator {
 public:
  // Of the options, sliding_window, adapters and executor count; documents and controls are refused (ArgumentError).
  Generator(const Qwen3& model, const ForwardOptions& options, int64_t batch);
  ~Generator();
  Generator(Generator&&) noexcept;

  // Appends int64 [B,n] and returns the n new hidden states after the final norm, [B,n,hidden]: those that
  // Qwen3::hidden_states would give for the whole text, up to rounding. No gradient.
  at::Tensor append(const at::Tensor& input_ids);

  // Tokens appended so far.
  int64_t size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Chooses the next token of each row from logits [B,V]: the greatest, or a draw that is a pure function of
// (seed, position, row). Returns int64 [B] on the CPU. Throws NumericError where a row has a NaN or no finite logit.
at::Tensor choose_tokens(const at::Tensor& logits, const GenerateOptions& options, int64_t position);

// Continues prompt int64 [B,n], n > 0. Returns [B,n+m], m <= max_new_tokens: it ends early once every row has given a
// stop token; a row that ended before the others repeats it. `on_tokens`, if set, gets each step's int64 [B].
at::Tensor generate(const Qwen3& model, const at::Tensor& prompt, const ForwardOptions& options,
                    const GenerateOptions& generate_options,
                    const std::function<void(const at::Tensor&)>& on_tokens = {});

}  // namespace rosa::models
