#include "training/suite/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace rosa::training {

namespace {
constexpr uint64_t kStreamOfResamples = 0x626f6f74;
}  // namespace

Bootstrap::Bootstrap(int64_t num_sequences, int64_t num_resamples, uint64_t seed) : num_sequences_(num_sequences) {
  base::require(num_sequences > 0 && num_resamples > 0, "Bootstrap: got ", num_sequences, " sequences and ",
                num_resamples, " resamples; expected at least one of each");
  if (num_sequences < kMinSequences) return;
  counts_.assign(static_cast<size_t>(num_sequences * num_resamples), 0.0);
  for (int64_t sample = 0; sample < num_resamples; ++sample) {
    base::RandomStream random({.seed = seed, .sample = static_cast<uint64_t>(sample), .layer = kStreamOfResamples});
    double* counts = counts_.data() + sample * num_sequences;
    for (int64_t i = 0; i < num_sequences; ++i) counts[random.below(static_cast<uint64_t>(num_sequences))] += 1.0;
  }
}

std::optional<Interval> Bootstrap::interval(
    const std::function<std::optional<double>(std::span<const double>)>& figure) const {
  const auto size = static_cast<size_t>(num_sequences_);
  std::vector<double> values;
  size_t num_samples = 0;
  for (size_t first = 0; first < counts_.size(); first += size, ++num_samples) {
    const std::optional<double> value = figure(std::span(counts_).subspan(first, size));
    if (value && std::isfinite(*value)) values.push_back(*value);
  }
  if (values.empty() || values.size() * 20 < num_samples * 19) return std::nullopt;
  std::sort(values.begin(), values.end());
  const auto at = [&values](double share) {
    return values[static_cast<size_t>(std::llround(share * static_cast<double>(values.size() - 1)))];
  };
  return Interval{at(0.025), at(0.975)};
}

}  // namespace rosa::training
