// Curves of a run as pictures and tables show them: however many steps there are, a curve has as many points as a
// picture has columns.
#pragma once

#include <optional>
#include <vector>

#include "report/scale.h"
#include "report/statistics.h"

namespace rosa::report {

// Mean (y), smallest and greatest value (low, high) of the samples in each of `num_columns` equal parts of `steps`;
// where there are no more samples than columns, the samples themselves. x: the mean of their steps. A column whose
// values are all not finite is a gap: the point behind it starts anew. Samples outside `steps` are left out.
Curve by_column(const Samples& samples, Interval steps, int num_columns);

// The exponential moving average, from the first value on without a bias to any start; a value counts half as much
// `half_life` steps later. Values that are not finite stay so and do not count.
Samples smoothed(const Samples& samples, double half_life);

// Over the values that are finite.
struct FigureSummary {
  double last = 0, mean = 0, lowest = 0, highest = 0;
  double lowest_step = 0, highest_step = 0;
  int64_t num_not_finite = 0;
};
// Nothing where no value is finite.
std::optional<FigureSummary> summary_of(const Samples& samples);

// From the first step of any to the last; nothing where there are no samples.
std::optional<Interval> steps_of(const std::vector<const Samples*>& all);

}  // namespace rosa::report
