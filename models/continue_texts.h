// continue_texts: appends tokens to texts until each has ended, several texts side by side, with tokens drafted from
// the texts themselves where that pays.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/generator.h"
#include "models/token_choice.h"

namespace rosa::models {

// Whether the tokens that followed the longest match of a text's end are drafted, verified in one forward, and taken
// back where the model says otherwise (prompt lookup: Saxena, 2023; Yang et al., arXiv:2304.04487). The tokens are the
// same either way. `automatic`: where the matches of this text so far say that it pays.
enum class Speculation { off, on, automatic };

struct ContinueStatistics {
  int64_t num_tokens = 0;    // given
  int64_t num_forwards = 0;  // of a text, the prompt's not counted
  int64_t num_drafted = 0;
  int64_t num_accepted = 0;
};

// Called with each new token of a text; false ends that text here.
using OnToken = std::function<bool(int64_t text, int64_t token)>;

// texts[i] are all tokens of the generator's text i, of which it holds the first ones: at least one is left. New tokens
// are added to `texts`; afterwards the generator holds all but the last of each, so that a further call goes on. A text
// ends after options[i].max_new_tokens, behind a stop token, or where on_token says so; each text's tokens are those
// that it gets alone. Throws ArgumentError, also for Speculation::on where the generator's rows are not independent.
ContinueStatistics continue_texts(Generator& generator, std::vector<std::vector<int64_t>>& texts,
                                  std::span<const GenerateOptions> options, Speculation speculation,
                                  const OnToken& on_token = {});

}  // namespace rosa::models
