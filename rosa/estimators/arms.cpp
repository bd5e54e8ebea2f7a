// arms (antithetic REINFORCE multi-sample): K strings whose bits are as negatively correlated as K can be, by a
// Dirichlet copula; for K = 2 it is disarm.
#include <algorithm>
#include <cmath>

#include "rosa/estimators/draws.h"
#include "rosa/estimators/sampled_estimator.h"

namespace rosa {
namespace {

// For the small exponents here much faster than std::pow.
double to_the(int64_t exponent, double base) {
  double power = 1;
  for (int64_t factor = 0; factor < exponent; ++factor) power *= base;
  return power;
}

// The probability that two of the uniform numbers (1 - d)^(K-1) are both below q.
double both_below(double q, int64_t num_samples) {
  const double inverse = 1 / static_cast<double>(num_samples - 1);
  const double root = num_samples == 2 ? q : std::pow(q, inverse);
  return to_the(num_samples - 1, std::max(2 * root - 1, 0.0));
}

// The probability that a bit is 1 in both of two strings.
double both_set(double p, int64_t num_samples) {
  return p < 0.5 ? both_below(p, num_samples) : 2 * p - 1 + both_below(1 - p, num_samples);
}

class ArmsEstimator final : public SampledEstimator {
 public:
  explicit ArmsEstimator(const GateEstimatorConfig& config)
      : SampledEstimator({config.scope, config.temperature, config.num_samples, 0, config.num_samples}) {}

  double evaluations() const override { return static_cast<double>(shape().num_samples); }

 protected:
  // d, uniform on the simplex, are the gaps that K - 1 uniform numbers, in order, leave in [0, 1].
  void draw(const GateProblem& problem, const GateChannel& channel, GateWorker& /*worker*/,
            const ChannelSamples& samples) const override {
    const int64_t last = samples.num_samples - 1;
    for (int64_t draw = 0; draw < last; ++draw) problem.uniforms(channel, draw, samples.local(draw));
    sort_draws(samples, last);
    for (int64_t sample = 0; sample <= last; ++sample) {
      const std::span<uint8_t> bits = samples.sample_bits(sample);
      for (int64_t t = 0; t < samples.length; ++t) {
        const double gap =
            (sample == last ? 1.0 : samples.local(sample)[t]) - (sample == 0 ? 0.0 : samples.local(sample - 1)[t]);
        const double uniform = to_the(last, 1 - gap);
        const double p = channel.probability[t];
        bits[t] = (p < 0.5 ? uniform : 1 - uniform) < p;
      }
    }
  }

  // Leave-one-out, corrected for the correlation of the bits.
  void weigh(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples) override {
    leave_one_out(channel, worker.numbers(kFreeSlot, samples.length), samples);
    for (int64_t t = 0; t < samples.length; ++t) {
      const double p = channel.probability[t];
      channel.gradient[t] *= p * (1 - p) / (p - both_set(p, samples.num_samples));
    }
  }

 private:
  // By odd and even exchanges, each over all positions.
  static void sort_draws(const ChannelSamples& samples, int64_t count) {
    for (int64_t round = 0; round < count; ++round) {
      for (int64_t draw = round % 2; draw + 1 < count; draw += 2) {
        const std::span<double> low = samples.local(draw), high = samples.local(draw + 1);
        for (int64_t t = 0; t < samples.length; ++t) {
          const double smaller = std::min(low[t], high[t]), larger = std::max(low[t], high[t]);
          low[t] = smaller;
          high[t] = larger;
        }
      }
    }
  }
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_arms(const GateEstimatorConfig& config) {
  require_several_samples(config);
  return std::make_unique<ArmsEstimator>(config);
}

}  // namespace rosa
