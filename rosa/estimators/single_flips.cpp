// Estimators that need to know what each bit does alone: flip and flip_mode at the hard bits, leg at sampled ones.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "rosa/estimators/draws.h"
#include "rosa/estimators/gate_problem.h"

namespace rosa {
namespace {

constexpr double kSmallestLogit = 1e-3;  // of flip, which divides by |x|

// FastRosa's FLIP: a difference quotient at the hard bits, without bound near 0 and biased.
class FlipEstimator final : public GateEstimator {
 public:
  double evaluations() const override { return kFlipEvaluations; }

  at::Tensor gradient(const GateCall& call, HostExecutor& executor) override {
    const GateProblem problem(call, 1);
    workers_.for_each_row(problem.num_rows(), executor, [&](GateWorker& worker, int64_t row) {
      const GateChannel channel = problem.channel(row);
      worker.begin(channel);
      worker.flip_effects(worker.hard_bits(channel, 0), channel.gradient);
      for (size_t t = 0; t < channel.x.size(); ++t) {
        channel.gradient[t] /= 2 * std::max(std::abs(channel.x[t]), kSmallestLogit);
      }
    });
    return problem.collect(1);
  }

 private:
  GateWorkers workers_;
};

// p (1 - p) times the effect of each flip at the hard bits: no variance, biased.
class FlipModeEstimator final : public GateEstimator {
 public:
  explicit FlipModeEstimator(double temperature) : temperature_(temperature) {}

  double evaluations() const override { return kFlipEvaluations; }

  at::Tensor gradient(const GateCall& call, HostExecutor& executor) override {
    const GateProblem problem(call, temperature_);
    workers_.for_each_row(problem.num_rows(), executor, [&](GateWorker& worker, int64_t row) {
      const GateChannel channel = problem.channel(row);
      worker.begin(channel);
      worker.flip_effects(worker.hard_bits(channel, 0), channel.gradient);
      for (size_t t = 0; t < channel.x.size(); ++t) {
        channel.gradient[t] *= channel.probability[t] * (1 - channel.probability[t]);
      }
    });
    return problem.collect(1 / temperature_);
  }

 private:
  double temperature_;
  GateWorkers workers_;
};

// Local expectation gradient: the same at sampled bits, the mean of several. Unbiased.
class LegEstimator final : public GateEstimator {
 public:
  LegEstimator(double temperature, int64_t num_samples, bool antithetic)
      : temperature_(temperature), num_samples_(num_samples), antithetic_(antithetic) {}

  double evaluations() const override { return kFlipEvaluations * static_cast<double>(num_samples_); }

  at::Tensor gradient(const GateCall& call, HostExecutor& executor) override {
    const GateProblem problem(call, temperature_);
    workers_.for_each_row(problem.num_rows(), executor,
                          [&](GateWorker& worker, int64_t row) { add_row(problem, worker, row); });
    return problem.collect(1 / (temperature_ * static_cast<double>(num_samples_)));
  }

 private:
  void add_row(const GateProblem& problem, GateWorker& worker, int64_t row) const {
    const GateChannel channel = problem.channel(row);
    const int64_t length = problem.length();
    const std::span<double> uniforms = worker.numbers(0, length), effects = worker.numbers(1, length);
    const ChannelSamples samples{num_samples_, length, worker.bits(0, num_samples_ * length), {}, {}};
    (antithetic_ ? draw_pairs : draw_independent)(problem, channel, uniforms, samples);
    worker.begin(channel);
    for (int64_t sample = 0; sample < num_samples_; ++sample) {
      worker.flip_effects(samples.sample_bits(sample), effects);
      for (int64_t t = 0; t < length; ++t) channel.gradient[t] += effects[t];
    }
    for (int64_t t = 0; t < length; ++t) {
      channel.gradient[t] *= channel.probability[t] * (1 - channel.probability[t]);
    }
  }

  double temperature_;
  int64_t num_samples_;
  bool antithetic_;
  GateWorkers workers_;
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_flip(const GateEstimatorConfig& /*config*/) {
  return std::make_unique<FlipEstimator>();
}

std::unique_ptr<GateEstimator> make_gate_flip_mode(const GateEstimatorConfig& config) {
  return std::make_unique<FlipModeEstimator>(config.temperature);
}

std::unique_ptr<GateEstimator> make_gate_leg(const GateEstimatorConfig& config) {
  base::require<base::ConfigError>(!config.antithetic || config.num_samples % 2 == 0,
                                   "gate estimator leg: got num_samples ", config.num_samples,
                                   ", expected an even number for antithetic pairs (or antithetic: false)");
  return std::make_unique<LegEstimator>(config.temperature, config.num_samples, config.antithetic);
}

}  // namespace rosa
