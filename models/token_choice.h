// TokenChoice: how the next token is taken from logits, as transformers defines the settings of the same names.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/fields.h"

namespace rosa::models {

struct GenerateOptions {
  int64_t max_new_tokens = 64;
  bool sample = false;
  double temperature = 1;
  int64_t top_k = 0;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  int64_t seed = 0;
  std::vector<int64_t> stop_tokens;
};

void describe(base::FieldVisitor& visitor, GenerateOptions& options);

// Throws ArgumentError where a value is out of range.
void check(const GenerateOptions& options);

// Chooses the token of one row of logits [V]: the greatest, or a draw that is a pure function of (seed, position).
// `seen`: the tokens of the text so far, which repetition_penalty counts against. Throws NumericError where the row has
// a NaN or no finite logit.
int64_t choose_token(const at::Tensor& logits, const GenerateOptions& options, int64_t position,
                     const std::set<int64_t>& seen = {});

}  // namespace rosa::models
