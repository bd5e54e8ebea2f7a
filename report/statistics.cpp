#include "report/statistics.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"

namespace rosa::report {
namespace {

PlotPoint point_of(double x, const std::vector<double>& values) {
  const Summary summary = *summarise(values);
  return {x, summary.mean, summary.mean - summary.deviation, summary.mean + summary.deviation};
}

// `samples` at x, which lies within them.
double interpolated(const Samples& samples, double x) {
  const auto after = std::lower_bound(samples.begin(), samples.end(), x,
                                      [](const auto& sample, double value) { return sample.first < value; });
  if (after == samples.begin() || after->first == x) return after->second;
  const auto before = after - 1;
  const double share = (x - before->first) / (after->first - before->first);
  return before->second + share * (after->second - before->second);
}

}  // namespace

std::optional<Summary> summarise(const std::vector<double>& values) {
  if (values.empty()) return {};
  Summary summary;
  summary.count = static_cast<int>(values.size());
  for (const double value : values) summary.mean += value / summary.count;
  double squares = 0;
  for (const double value : values) squares += (value - summary.mean) * (value - summary.mean);
  if (summary.count > 1) summary.deviation = std::sqrt(squares / (summary.count - 1));
  return summary;
}

double quantile(std::vector<double> values, double share) {
  base::require(!values.empty(), "quantile of nothing");
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
}

Samples thin(const Samples& samples, std::size_t max_points) {
  const std::size_t group = (samples.size() + max_points - 1) / std::max<std::size_t>(1, max_points);
  if (group <= 1) return samples;
  Samples thinned;
  for (std::size_t begin = 0; begin + group <= samples.size(); begin += group) {
    double mean = 0;
    for (std::size_t i = begin; i < begin + group; ++i) mean += samples[i].second / static_cast<double>(group);
    thinned.emplace_back(samples[begin + group - 1].first, mean);
  }
  return thinned;
}

Curve mean_at_equal_x(const std::vector<Samples>& all) {
  std::map<double, std::vector<double>> by_x;
  for (const Samples& samples : all) {
    for (const auto& [x, y] : samples) by_x[x].push_back(y);
  }
  Curve curve;
  for (const auto& [x, values] : by_x) curve.push_back(point_of(x, values));
  return curve;
}

Curve mean_interpolated(const std::vector<Samples>& all, double end, int num_points) {
  double begin = 0;
  double last = 0;
  bool is_empty = true;
  for (const Samples& samples : all) {
    if (samples.empty()) continue;
    begin = is_empty ? samples.front().first : std::max(begin, samples.front().first);
    last = is_empty ? samples.back().first : std::max(last, samples.back().first);
    is_empty = false;
  }
  end = std::min(end, last);
  Curve curve;
  if (is_empty || end < begin) return curve;
  const int points = end > begin ? std::max(2, num_points) : 1;
  for (int i = 0; i < points; ++i) {
    const double x = i == 0 ? begin : i == points - 1 ? end : begin + (end - begin) * i / (points - 1);
    std::vector<double> values;
    for (const Samples& samples : all) {
      if (samples.empty() || x < samples.front().first || x > samples.back().first) continue;
      values.push_back(interpolated(samples, x));
    }
    if (!values.empty()) curve.push_back(point_of(x, values));
  }
  return curve;
}

}  // namespace rosa::report
