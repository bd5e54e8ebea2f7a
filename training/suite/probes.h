// Probes: sequences that ask for something that stands earlier in them, made of held-out text by a pure function of
// seed, task, length, depth and number.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "training/suite/suite_config.h"

namespace rosa::training {

struct Probe {
  std::vector<int64_t> ids;
  // [first, end) of each answer in `ids`; first > 0.
  std::vector<std::pair<int64_t, int64_t>> answers;
};

// Probe `number` of a task, `length` tokens long. `text`: at least as many tokens of real text, which fill the space;
// keys and values are made of its tokens, and no key stands in it by chance. `depth`: percent, for needles. The same
// number has the same keys and values at every depth. Throws DataError where the text is too uniform for keys.
Probe make_probe(const SuiteTask& task, uint64_t seed, int64_t length, int64_t depth, int64_t number,
                 std::span<const int64_t> text);

}  // namespace rosa::training
