#include "rosa/estimators/sampled_estimator.h"

#include <algorithm>

namespace rosa {
namespace {

// Sums from each position on, or the whole sum everywhere.
void credit(RewardScope scope, std::span<double> track) {
  double sum = 0;
  for (size_t t = track.size(); t-- > 0;) {
    sum += track[t];
    track[t] = sum;
  }
  if (scope != RewardScope::causal) std::fill(track.begin(), track.end(), sum);
}

}  // namespace

void SampledEstimator::evaluate_row(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                                    const ChannelSamples& samples) const {
  draw(problem, channel, worker, samples);
  worker.begin(channel);
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    worker.evaluate(samples.sample_bits(sample), samples.track(sample));
    evaluated(worker, samples, sample);
  }
  add_tracks(problem, channel, worker, samples);
  for (int64_t number = 0; number < num_tracks(); ++number) credit(shape_.scope, samples.track(number));
}

at::Tensor SampledEstimator::gradient(const GateCall& call, HostExecutor& executor) {
  GateProblem problem(call, shape_.temperature);
  begin(problem);
  if (shape_.scope == RewardScope::joint) {
    joint_gradient(problem, executor);
  } else {
    const int64_t length = problem.length();
    workers_.for_each_row(problem.num_rows(), executor, [&](GateWorker& worker, int64_t row) {
      const GateChannel channel = problem.channel(row);
      const ChannelSamples samples{shape_.num_samples, length, worker.bits(0, shape_.num_samples * length),
                                   worker.numbers(0, num_tracks() * length),
                                   worker.numbers(1, shape_.num_locals * length)};
      evaluate_row(problem, channel, worker, samples);
      weigh(channel, worker, samples);
    });
  }
  finish();
  return problem.collect(1 / shape_.temperature);
}

// Twice over the rows: a bit's weight waits for the rewards of all channels.
void SampledEstimator::joint_gradient(const GateProblem& problem, HostExecutor& executor) {
  const int64_t length = problem.length(), num_rows = problem.num_rows();
  const int64_t num_bits = shape_.num_samples * length, num_numbers = shape_.num_locals * length;
  std::vector<uint8_t> bits(num_rows * num_bits);
  std::vector<double> locals(num_rows * num_numbers), row_sums(num_rows * num_tracks());
  const auto samples_of = [&](GateWorker& worker, int64_t row) {
    return ChannelSamples{shape_.num_samples, length, std::span(bits).subspan(row * num_bits, num_bits),
                          worker.numbers(0, num_tracks() * length),
                          std::span(locals).subspan(row * num_numbers, num_numbers)};
  };
  workers_.for_each_row(num_rows, executor, [&](GateWorker& worker, int64_t row) {
    const ChannelSamples samples = samples_of(worker, row);
    evaluate_row(problem, problem.channel(row), worker, samples);
    for (int64_t number = 0; number < num_tracks() && length > 0; ++number) {
      row_sums[row * num_tracks() + number] = samples.track(number).front();
    }
  });
  std::vector<double> sums(problem.batch() * num_tracks());
  for (int64_t row = 0; row < num_rows; ++row) {
    double* sequence_sums = sums.data() + row / problem.channels() * num_tracks();
    for (int64_t number = 0; number < num_tracks(); ++number) {
      sequence_sums[number] += row_sums[row * num_tracks() + number];
    }
  }
  workers_.for_each_row(num_rows, executor, [&](GateWorker& worker, int64_t row) {
    const GateChannel channel = problem.channel(row);
    const ChannelSamples samples = samples_of(worker, row);
    for (int64_t number = 0; number < num_tracks(); ++number) {
      std::ranges::fill(samples.track(number), sums[channel.batch * num_tracks() + number]);
    }
    weigh(channel, worker, samples);
  });
}

}  // namespace rosa
