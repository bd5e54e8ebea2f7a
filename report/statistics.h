// Statistics over seeds: mean and deviation of single values, and the mean of curves with its band. Knows no
// experiment.
#pragma once

#include <optional>
#include <utility>
#include <vector>

namespace rosa::report {

struct Summary {
  int count = 0;
  double mean = 0;
  double deviation = 0;  // of the sample (n - 1); 0 for a single value
};

// Nothing where there are no values.
std::optional<Summary> summarise(const std::vector<double>& values);

// The value below which a share of `values` lies, interpolated. `values` isn't empty.
double quantile(std::vector<double> values, double share);

struct PlotPoint {
  double x = 0, y = 0;
  double low = 0, high = 0;  // the band: mean -/+ deviation; equal to y without one
  bool is_start = false;     // the line is broken before it
};
using Curve = std::vector<PlotPoint>;
using Samples = std::vector<std::pair<double, double>>;  // x ascending

// The mean of each group of neighbours, at its last x: at most `max_points`. An incomplete last group is left out.
Samples thin(const Samples& samples, std::size_t max_points);

// At each x that any of `all` has: the mean over those that have it.
Curve mean_at_equal_x(const std::vector<Samples>& all);

// On `num_points` even x, from where the last one begins to `end`: the mean over those that reach the x, each
// interpolated linearly. Empty ones are left out.
Curve mean_interpolated(const std::vector<Samples>& all, double end, int num_points);

}  // namespace rosa::report
