// What a Generator holds; for generator.cpp and generator_bytes.cpp only.
#pragma once

#include <vector>

#include "models/generator.h"
#include "models/text_state.h"
#include "models/token_step.h"

namespace rosa::models {

struct Generator::State {
  State(const CausalModel& model, const ForwardOptions& options, int64_t max_rewind);

  TextState empty_text() const;
  // One text, int64 [1,n] -> [1,n,hidden]. `rotary_length`: of the text that the chunk is part of.
  at::Tensor append_chunk(TextState& text, const at::Tensor& ids, int64_t rotary_length) const;
  // A text's tokens in chunks. Returns all hidden states, [n,hidden], or those of the last `num_wanted`.
  at::Tensor append_long(TextState& text, std::span<const int64_t> ids, int64_t num_wanted) const;
  void check_tokens(std::span<const int64_t> ids) const;

  const CausalModel* model;
  const AdapterSet* adapters;
  HostExecutor* executor;
  ForwardOptions options;  // its spans
  int64_t max_rewind;
  TokenStep step;
  std::vector<TextState> texts;
};

}  // namespace rosa::models
