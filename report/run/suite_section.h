// The sections of a page about long-context evaluations: answers by length and depth, losses by length, and the groups
// of the tokens, with the numbers of every picture beside it.
#pragma once

#include <vector>

#include "report/run/section.h"
#include "report/run/suite_result.h"

namespace rosa::report {

// A section that says what was scored, then one a task, all variants of all results in each. Their names differ.
std::vector<Section> suite_sections(const std::vector<SuiteResult>& results);

}  // namespace rosa::report
