// What the student writes, for people to read: the beginnings of held-out texts, continued greedily.
#pragma once

#include <cstdint>
#include <vector>

#include "training/evaluation.h"

namespace rosa::training {

// Token ids.
struct ContinuedText {
  std::vector<int64_t> prompt;        // the beginning of a held-out text
  std::vector<int64_t> continuation;  // by the model
  std::vector<int64_t> reference;     // what follows in the text
};

// The first evaluation.samples of the held-out sequences that an evaluation scores, fewer where there are fewer: of
// each the beginning of its longest document, half of it at most, continued by the student (or, in a pretraining, by
// the base) by evaluation.sample_tokens tokens. Each is computed alone, so that they are equal for any number of ranks;
// on every rank. Collective: every rank calls it.
std::vector<ContinuedText> continue_held_out_texts(const RunConfig& config, const RunParts& parts);

}  // namespace rosa::training
