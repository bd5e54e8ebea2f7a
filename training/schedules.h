// Schedules: the value of a scheduled quantity (learning rate, alpha, temperatures) as a pure function of the step.
// They hold no state, so a resumed run needs nothing but its step.
#pragma once

#include <cstdint>
#include <string>

#include "base/config_problems.h"
#include "base/fields.h"

namespace rosa::training {

enum class ScheduleShape { constant, linear, cosine, exponential };

// The way from `start` to `end`:
//   steps [0, warmup_steps)        start * step / warmup_steps (so step 0 gives 0)
//   the next delay_steps           start
//   the next decay_steps           the shape from start to end (0: as many as the run has left)
//   after that                     end
struct ScheduleConfig {
  ScheduleShape shape = ScheduleShape::constant;
  double start = 1.0;
  double end = 1.0;
  int64_t warmup_steps = 0;
  int64_t delay_steps = 0;
  int64_t decay_steps = 0;
  int64_t lag_steps = 0;  // step s uses the value of step max(s - lag_steps, 0)
};

void describe(base::FieldVisitor& visitor, ScheduleConfig& config);

// The decay from `start` to `end` at `step` of `num_steps`, clamped to [0, num_steps]. With p = step / num_steps:
// linear, start - p (start - end); cosine, end + (start - end) (1 + cos(pi p)) / 2; exponential, start (end / start)^p.
// Throws ArgumentError for an exponential decay with an end that is not of start's sign.
double decay(ScheduleShape shape, double start, double end, int64_t step, int64_t num_steps);

// What is wrong with the schedule along a whole run of `num_steps`, whose values must be in the closed range `allowed`:
// the first step at which it is not, or an exponential decay that has no way to its end.
void check(base::ConfigProblems& problems, const ScheduleConfig& config, int64_t num_steps,
           base::Range<double> allowed);

// The value of the schedule at `step` (from 0) of a run of `num_steps`.
double schedule_value(const ScheduleConfig& config, int64_t step, int64_t num_steps);

}  // namespace rosa::training
