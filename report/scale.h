// Scale: maps values to coordinates, linear or logarithmic, and picks the ticks of its axis. Draws nothing.
#pragma once

#include <string>
#include <vector>

namespace rosa::report {

enum class ScaleKind { linear, logarithmic };

struct Interval {
  double low = 0, high = 1;
};

struct Tick {
  double value;
  std::string label;
};

class Scale {
 public:
  // `domain` to `range` (range.low is where domain.low lies, and may be the greater one). A domain without extent is
  // widened. Throws ArgumentError where the domain is not finite or, logarithmic, not above zero.
  Scale(ScaleKind kind, Interval domain, Interval range);

  double operator()(double value) const;
  // The value's place, moved into the range.
  double clamped(double value) const;
  const Interval& domain() const { return domain_; }

  // About `count` round values within the domain, labels with equally many decimals (linear), or decades, with their 2
  // and 5 where there are few (logarithmic).
  std::vector<Tick> ticks(int count) const;
  // Of `values` those within the domain, as many as are at least `min_distance` apart.
  std::vector<Tick> ticks_at(std::vector<double> values, double min_distance) const;

 private:
  std::vector<Tick> linear_ticks(int count) const;
  std::vector<Tick> logarithmic_ticks(int count) const;

  ScaleKind kind_;
  Interval domain_, range_;
};

// A round number as axes label it: 0.05, 20, 5000, 20k, 3M.
std::string tick_label(double value);

// The smallest interval with round ends that holds `data` with about `count` ticks.
Interval round_interval(Interval data, int count);

}  // namespace rosa::report
