// The qualitative lines of the counting task: what ROSA alone and the model make of a text, character by character.
#pragma once

#include "report/experiment/experiment.h"
#include "report/markup.h"

namespace rosa::report {

// One block an arm, that opens and closes; where there are many, only the first is open. Wrong characters are marked
// (<mark>, underlined), and the right ones are counted. Empty where no finished run has lines.
Markup sample_lines(const Experiment& experiment);

}  // namespace rosa::report
