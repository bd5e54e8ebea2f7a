#include "rosa/estimators/sampled_estimator.h"

#include <algorithm>

namespace rosa {

void credit_rewards(RewardScope scope, std::span<double> rewards) {
  double sum = 0;
  for (size_t t = rewards.size(); t-- > 0;) {
    sum += rewards[t];
    rewards[t] = sum;
  }
  if (scope != RewardScope::causal) std::fill(rewards.begin(), rewards.end(), sum);
}

SampledEstimator::SampledEstimator(RewardScope scope, int64_t num_samples, double temperature)
    : scope_(scope), num_samples_(num_samples), temperature_(temperature) {}

void SampledEstimator::evaluate_row(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                                    const ChannelSamples& samples) const {
  draw(problem, channel, worker, samples);
  worker.begin(channel);
  for (int64_t sample = 0; sample < num_samples_; ++sample) {
    worker.evaluate(samples.sample_bits(sample), samples.sample_rewards(sample));
    credit_rewards(scope_, samples.sample_rewards(sample));
  }
}

at::Tensor SampledEstimator::gradient(const GateCall& call, HostExecutor& executor) {
  const GateProblem problem(call, temperature_);
  if (scope_ == RewardScope::joint) {
    joint_gradient(problem, executor);
    return problem.collect(1 / temperature_);
  }
  const int64_t size = num_samples_ * problem.length();
  workers_.for_each_row(problem.num_rows(), executor, [&](GateWorker& worker, int64_t row) {
    const GateChannel channel = problem.channel(row);
    const ChannelSamples samples{num_samples_, problem.length(), worker.bits(0, size), worker.numbers(0, size)};
    evaluate_row(problem, channel, worker, samples);
    weigh(channel, samples);
  });
  return problem.collect(1 / temperature_);
}

// Twice over the rows: a bit's weight waits for the rewards of all channels.
void SampledEstimator::joint_gradient(const GateProblem& problem, HostExecutor& executor) {
  const int64_t size = num_samples_ * problem.length(), num_rows = problem.num_rows();
  std::vector<uint8_t> bits(num_rows * size);
  std::vector<double> totals(problem.batch() * num_samples_), row_totals(num_rows * num_samples_);
  const auto samples_of = [&](GateWorker& worker, int64_t row) {
    return ChannelSamples{num_samples_, problem.length(), std::span(bits).subspan(row * size, size),
                          worker.numbers(0, size)};
  };
  workers_.for_each_row(num_rows, executor, [&](GateWorker& worker, int64_t row) {
    const ChannelSamples samples = samples_of(worker, row);
    evaluate_row(problem, problem.channel(row), worker, samples);
    for (int64_t sample = 0; sample < num_samples_ && problem.length() > 0; ++sample) {
      row_totals[row * num_samples_ + sample] = samples.sample_rewards(sample).front();
    }
  });
  for (int64_t row = 0; row < num_rows; ++row) {
    for (int64_t sample = 0; sample < num_samples_; ++sample) {
      totals[row / problem.channels() * num_samples_ + sample] += row_totals[row * num_samples_ + sample];
    }
  }
  workers_.for_each_row(num_rows, executor, [&](GateWorker& worker, int64_t row) {
    const GateChannel channel = problem.channel(row);
    const ChannelSamples samples = samples_of(worker, row);
    for (int64_t sample = 0; sample < num_samples_; ++sample) {
      std::ranges::fill(samples.sample_rewards(sample), totals[channel.batch * num_samples_ + sample]);
    }
    weigh(channel, samples);
  });
}

}  // namespace rosa
