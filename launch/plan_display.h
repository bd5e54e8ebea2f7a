// How a plan (training/plan/run_plan.h) is written for people: numbers with units, and findings in the form of doctor
// and dry run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/findings.h"
#include "training/plan/run_plan.h"

namespace rosa::launch {

// "1.23 G", "45.6 M", "950": decimal, as parameters and FLOPs are counted.
std::string quantity_text(double value);

// The memory of a rank by kind at its fullest moment, then the peaks.
std::vector<Finding> memory_findings(const training::MemoryPlan& memory, int64_t ranks_of_host);

// "planned 1.2 GiB, measured 1.3 GiB (8 % more)", for the peak of the process.
std::string comparison_text(int64_t planned_bytes, int64_t measured_bytes);

}  // namespace rosa::launch
