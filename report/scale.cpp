#include "report/scale.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "report/numbers.h"

namespace rosa::report {
namespace {

constexpr double kTolerance = 1e-9;

// 1, 2 or 5 times a power of ten, the nearest to extent / count.
double round_step(double extent, int count) {
  const double rough = extent / std::max(1, count);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double share = rough / power;
  return power * (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10);
}

Interval widened(ScaleKind kind, Interval domain) {
  const double size = std::max(std::abs(domain.low), std::abs(domain.high));
  if (domain.high - domain.low > 1e-12 * size) return domain;
  if (kind == ScaleKind::logarithmic) return {domain.low / 2, domain.low * 2};
  const double margin = domain.low == 0 ? 1 : std::abs(domain.low) / 2;
  return {domain.low - margin, domain.low + margin};
}

}  // namespace

Scale::Scale(ScaleKind kind, Interval domain, Interval range)
    : kind_(kind), domain_(widened(kind, domain)), range_(range) {
  base::require(std::isfinite(domain.low) && std::isfinite(domain.high), "a scale's domain is not finite");
  base::require(domain.low <= domain.high, "a scale's domain ends before it begins");
  base::require(kind == ScaleKind::linear || domain.low > 0, "a logarithmic scale begins at ", domain.low);
}

double Scale::operator()(double value) const {
  const auto place = [this](double v) { return kind_ == ScaleKind::linear ? v : std::log(v); };
  const double share = (place(value) - place(domain_.low)) / (place(domain_.high) - place(domain_.low));
  return range_.low + share * (range_.high - range_.low);
}

double Scale::clamped(double value) const { return (*this)(std::min(std::max(value, domain_.low), domain_.high)); }

std::vector<Tick> Scale::ticks(int count) const {
  return kind_ == ScaleKind::linear ? linear_ticks(count) : logarithmic_ticks(count);
}

std::vector<Tick> Scale::linear_ticks(int count) const {
  const double step = round_step(domain_.high - domain_.low, count);
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + kTolerance)));
  std::vector<Tick> found;
  const auto first = static_cast<int64_t>(std::ceil(domain_.low / step - kTolerance));
  const auto last = static_cast<int64_t>(std::floor(domain_.high / step + kTolerance));
  for (int64_t i = first; i <= last; ++i) {
    const double value = static_cast<double>(i) * step;
    found.push_back({value, std::abs(value) >= 10000 ? tick_label(value) : fixed(value, decimals)});
  }
  return found;
}

std::vector<Tick> Scale::logarithmic_ticks(int count) const {
  const int first = static_cast<int>(std::floor(std::log10(domain_.low) + kTolerance));
  const int last = static_cast<int>(std::ceil(std::log10(domain_.high) - kTolerance));
  const double decades = std::log10(domain_.high / domain_.low);
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / std::max(1, count))));
  std::vector<double> factors = {1};
  if (decades < 0.7) return linear_ticks(count);
  if (decades < 0.5 * count) factors = {1, 2, 5};
  std::vector<Tick> found;
  for (int exponent = first; exponent <= last; ++exponent) {
    if (exponent % stride != 0) continue;
    for (const double factor : factors) {
      const double value = factor * std::pow(10, exponent);
      if (value < domain_.low * (1 - kTolerance) || value > domain_.high * (1 + kTolerance)) continue;
      found.push_back({value, tick_label(value)});
    }
  }
  return found;
}

std::vector<Tick> Scale::ticks_at(std::vector<double> values, double min_distance) const {
  std::sort(values.begin(), values.end());
  std::vector<Tick> found;
  for (const double value : values) {
    if (value < domain_.low || value > domain_.high) continue;
    if (!found.empty() && std::abs((*this)(value) - (*this)(found.back().value)) < min_distance) continue;
    found.push_back({value, tick_label(value)});
  }
  return found;
}

std::string tick_label(double value) {
  const double size = std::abs(value);
  if (size >= 1e6 && size < 1e9) return fixed(value / 1e6, std::fmod(value, 1e6) == 0 ? 0 : 1) + "M";
  if (size >= 1e4 && size < 1e6) return fixed(value / 1e3, std::fmod(value, 1e3) == 0 ? 0 : 1) + "k";
  if (size >= 1e9 || (size > 0 && size < 1e-3)) {
    const int exponent = static_cast<int>(std::floor(std::log10(size) + kTolerance));
    return fixed(value / std::pow(10, exponent), 0) + "e" + std::to_string(exponent);
  }
  int decimals = 0;
  for (; decimals < 4; ++decimals) {
    const double scaled = size * std::pow(10, decimals);
    if (std::abs(scaled - std::round(scaled)) < 1e-6 * std::max(1.0, scaled)) break;
  }
  std::string label = fixed(value, decimals);
  std::erase(label, ',');
  return label;
}

Interval round_interval(Interval data, int count) {
  const Interval wide = widened(ScaleKind::linear, data);
  const double step = round_step(wide.high - wide.low, count);
  return {std::floor(wide.low / step + kTolerance) * step, std::ceil(wide.high / step - kTolerance) * step};
}

}  // namespace rosa::report
