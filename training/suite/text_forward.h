// One text through one variant of a model, whole or as a stream.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "training/suite/suite_block.h"

namespace rosa::training {

// Gives the hidden states of `ids` piece by piece: use(first, hidden [n,hidden]) for tokens first to first + n - 1.
// A text of at most suite.whole_max tokens is one piece, and a longer one is streamed with memory for the window and
// what the automata keep. Returns the bytes of state that stand behind the text at its end: keys, values, automata.
int64_t forward_text(const SuiteContext& context, const std::string& variant, std::span<const int64_t> ids,
                     const std::function<void(int64_t first, const at::Tensor& hidden)>& use);

}  // namespace rosa::training
