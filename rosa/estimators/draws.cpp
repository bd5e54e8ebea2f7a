#include "rosa/estimators/draws.h"

#include <algorithm>

#include "base/error.h"

namespace rosa {

void draw_independent(const GateProblem& problem, const GateChannel& channel, std::span<double> uniforms,
                      const ChannelSamples& samples) {
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    problem.uniforms(channel, sample, uniforms);
    draw_bits(channel.probability, uniforms, false, samples.sample_bits(sample));
  }
}

void draw_pairs(const GateProblem& problem, const GateChannel& channel, std::span<double> uniforms,
                const ChannelSamples& samples) {
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    const bool mirrored = sample % 2 == 1;
    if (!mirrored) problem.uniforms(channel, sample / 2, uniforms);
    draw_bits(channel.probability, uniforms, mirrored, samples.sample_bits(sample));
  }
}

void require_several_samples(const GateEstimatorConfig& config) {
  base::require<base::ConfigError>(config.num_samples >= 2, "gate estimator ", config.name, ": got num_samples ",
                                   config.num_samples, ", expected at least 2, since strings are held against others");
}

// f_k - the mean of the other f is K / (K - 1) times f_k - the mean of all.
void leave_one_out(const GateChannel& channel, std::span<double> mean, const ChannelSamples& samples) {
  std::ranges::fill(mean, 0.0);
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    const std::span<const double> rewards = samples.track(sample);
    for (int64_t t = 0; t < samples.length; ++t) mean[t] += rewards[t];
  }
  for (double& value : mean) value /= static_cast<double>(samples.num_samples);
  const double factor = 1 / static_cast<double>(samples.num_samples - 1);
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    const std::span<const uint8_t> bits = samples.sample_bits(sample);
    const std::span<const double> rewards = samples.track(sample);
    for (int64_t t = 0; t < samples.length; ++t) {
      channel.gradient[t] += factor * (rewards[t] - mean[t]) * (bits[t] - channel.probability[t]);
    }
  }
}

}  // namespace rosa
