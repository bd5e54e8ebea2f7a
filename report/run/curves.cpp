#include "report/run/curves.h"

#include <algorithm>
#include <cmath>

namespace rosa::report {
namespace {

struct Column {
  int64_t count = 0, num_seen = 0;  // finite ones, and all
  double sum_of_steps = 0, sum = 0, low = 0, high = 0;

  void add(double step, double value) {
    ++num_seen;
    if (!std::isfinite(value)) return;
    low = count == 0 ? value : std::min(low, value);
    high = count == 0 ? value : std::max(high, value);
    ++count;
    sum_of_steps += step;
    sum += value;
  }
};

}  // namespace

Curve by_column(const Samples& samples, Interval steps, int num_columns) {
  const bool are_few = samples.size() <= static_cast<std::size_t>(num_columns);
  const double width = (steps.high - steps.low) / num_columns;
  std::vector<Column> columns(are_few ? samples.size() : static_cast<std::size_t>(num_columns));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto [step, value] = samples[i];
    if (step < steps.low || step > steps.high) continue;
    const auto place = width > 0 ? static_cast<std::size_t>((step - steps.low) / width) : 0;
    columns[are_few ? i : std::min(place, columns.size() - 1)].add(step, value);
  }
  Curve curve;
  bool is_start = true;
  for (const Column& column : columns) {
    if (column.num_seen == 0) continue;  // nothing was to be seen there: the line goes on
    if (column.count == 0) {
      is_start = true;
      continue;
    }
    const auto count = static_cast<double>(column.count);
    // Rounding must not put the mean outside its band.
    const double mean = std::clamp(column.sum / count, column.low, column.high);
    curve.push_back({column.sum_of_steps / count, mean, column.low, column.high, is_start});
    is_start = false;
  }
  return curve;
}

Samples smoothed(const Samples& samples, double half_life) {
  Samples result;
  result.reserve(samples.size());
  double sum = 0, weight = 0, last_step = 0;
  for (const auto& [step, value] : samples) {
    if (!std::isfinite(value)) {
      result.emplace_back(step, value);
      continue;
    }
    const double kept = half_life > 0 ? std::exp2(-(step - last_step) / half_life) : 0;
    sum = sum * kept + value;
    weight = weight * kept + 1;
    last_step = step;
    result.emplace_back(step, sum / weight);
  }
  return result;
}

std::optional<FigureSummary> summary_of(const Samples& samples) {
  FigureSummary summary;
  int64_t count = 0;
  for (const auto& [step, value] : samples) {
    if (!std::isfinite(value)) {
      ++summary.num_not_finite;
      continue;
    }
    if (count == 0 || value < summary.lowest) {
      summary.lowest = value;
      summary.lowest_step = step;
    }
    if (count == 0 || value > summary.highest) {
      summary.highest = value;
      summary.highest_step = step;
    }
    summary.last = value;
    ++count;
    summary.mean += (value - summary.mean) / static_cast<double>(count);
  }
  if (count == 0) return {};
  return summary;
}

std::optional<Interval> steps_of(const std::vector<const Samples*>& all) {
  std::optional<Interval> steps;
  for (const Samples* samples : all) {
    if (samples->empty()) continue;
    const double first = samples->front().first, last = samples->back().first;
    if (!steps) steps = {first, last};
    steps = {std::min(steps->low, first), std::max(steps->high, last)};
  }
  return steps;
}

}  // namespace rosa::report
