// The tables of a report. Each is empty where the experiment holds nothing for it.
#pragma once

#include "report/experiment/experiment.h"
#include "report/table.h"

namespace rosa::report {

// What each arm reaches: loss, accuracy and zeroed control at equal steps, the same at equal time, speed.
Table training_table(const Experiment& experiment);
// Loss at equal steps: estimators down, reward scopes across. Empty where there are fewer than two of either.
Table scope_table(const Experiment& experiment);
// Each arm's gradient: cost, variance, bias, cosine, variance x time.
Table gradient_table(const Experiment& experiment);
// What the counting task reports: step times, best and final loss, next-token and ROSA-only accuracy.
Table counting_table(const Experiment& experiment);
// Accuracy by distance, in the recall task.
Table distance_table(const Experiment& experiment);
// Microseconds a channel: inputs and lengths down, kernels across.
Table timing_table(const Experiment& experiment);

}  // namespace rosa::report
