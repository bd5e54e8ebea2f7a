// Intervals for means over sequences: the percentile bootstrap (Efron 1979) with a fixed seed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace rosa::training {

struct Interval {
  double low = 0.0, high = 0.0;
};

// Draws samples of `num_sequences` sequences with replacement, `num_resamples` of them: the same ones for every figure,
// so that differences between variants are paired.
class Bootstrap {
 public:
  // Of fewer, samples hardly differ, and the interval would look far too narrow.
  static constexpr int64_t kMinSequences = 5;

  Bootstrap(int64_t num_sequences, int64_t num_resamples, uint64_t seed);

  // The interval that holds 95 % of `figure`'s values over the samples. `figure` gets how often each sequence was drawn
  // and returns nothing where it is not defined. Nothing for fewer than kMinSequences sequences, and where more than 5
  // % of the samples have no value.
  std::optional<Interval> interval(
      const std::function<std::optional<double>(std::span<const double> counts)>& figure) const;

 private:
  int64_t num_sequences_;
  std::vector<double> counts_;  // [resample][sequence]
};

}  // namespace rosa::training
