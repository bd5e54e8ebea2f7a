// The qualitative lines of the counting task: what ROSA alone and the model make of a text, character by character.
#pragma once

#include "training/report/experiment.h"
#include "training/report/markup.h"

namespace rosa::training::report {

// One block an arm, that opens and closes; where there are many, only the first is open. Wrong characters are marked
// (<mark>, underlined), and the right ones are counted. Empty where no finished run has lines.
Markup sample_lines(const Experiment& experiment);

}  // namespace rosa::training::report
