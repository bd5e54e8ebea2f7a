// generate(): continues texts of equal length, from their prompts to the end.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>

#include "models/causal_model.h"
#include "models/continue_texts.h"
#include "models/generator.h"
#include "models/token_choice.h"

namespace rosa::models {

// Continues prompt int64 [B,n], n > 0. Returns [B,n+m], m <= max_new_tokens: it ends early once every row has given a
// stop token; a row that ended before the others repeats it. Each row gets the tokens that it gets alone.
at::Tensor generate(const CausalModel& model, const at::Tensor& prompt, const ForwardOptions& options,
                    const GenerateOptions& generate_options, Speculation speculation = Speculation::automatic);

}  // namespace rosa::models
