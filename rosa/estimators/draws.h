// How strings of independent bits are drawn from uniform numbers, and the leave-one-out weights of their rewards.
#pragma once

#include <cstdint>
#include <span>

#include "rosa/estimators/sampled_estimator.h"

namespace rosa {

// bits[t] is 1 with probability p[t]: [u < p], or, mirrored, [u > 1 - p], the antithetic partner.
inline void draw_bits(std::span<const double> probability, std::span<const double> uniforms, bool mirrored,
                      std::span<uint8_t> bits) {
  if (mirrored) {
    for (size_t t = 0; t < bits.size(); ++t) bits[t] = uniforms[t] > 1 - probability[t];
  } else {
    for (size_t t = 0; t < bits.size(); ++t) bits[t] = uniforms[t] < probability[t];
  }
}

// All strings of a row, independent of each other or in antithetic pairs.
void draw_independent(const GateProblem& problem, const GateChannel& channel, std::span<double> uniforms,
                      const ChannelSamples& samples);
void draw_pairs(const GateProblem& problem, const GateChannel& channel, std::span<double> uniforms,
                const ChannelSamples& samples);

// Throws ConfigError for fewer than two strings.
void require_several_samples(const GateEstimatorConfig& config);

// Writes to the channel's gradient the mean, over the strings k, of (f_k - the mean of the other strings' f) (s_k - p).
// `mean` is room for one number for each position.
void leave_one_out(const GateChannel& channel, std::span<double> mean, const ChannelSamples& samples);

}  // namespace rosa
