// The table a distillation ends with: teacher, window only, ROSA and its controls, on all and on recallable tokens;
// as text and as JSON. Computes nothing (evaluation.h does).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "training/evaluation.h"

namespace rosa::training {

// {"teacher": {"ce", "ppl", "num_tokens"}, "window": ..., "rosa": ..., ..., "num_sequences": number, "gap_closed":
// number} of all tokens, or of the recallable ones. gap_closed is there where teacher, window and rosa are, and the gap
// is clearly positive (evaluation.h).
nlohmann::ordered_json scores_json(const Scores& scores, bool recallable);

// Whether the data had a recallable mask.
bool has_recallable(const Scores& scores);

// A table for a terminal: a row a variant, the number of tokens, cross-entropy, perplexity and gap closed, on all and
// on recallable tokens; "n/a" where the gap is not clearly positive.
std::string scores_table(const std::string& title, const Scores& scores);

}  // namespace rosa::training
