#include "rosa/estimators/stein_estimator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "rosa/estimators/draws.h"

namespace rosa {
namespace {

constexpr int64_t kCoefficients = 3;  // b, a', b'
constexpr size_t kAlpha = 0, kBeta = 1;

// Extra tracks behind the rewards: hard, squared scale, and with slopes lin of each string, for mpf also L of each.
int64_t num_extra_tracks(SteinOperator stein_operator, SlopeSource slopes, int64_t num_samples) {
  if (slopes == SlopeSource::none) return 2;
  return 2 + num_samples * (stein_operator == SteinOperator::mpf ? 2 : 1);
}

SampledEstimator::Shape make_shape(const GateEstimatorConfig& config, SteinOperator stein_operator,
                                   SlopeSource slopes) {
  require_several_samples(config);
  return {config.scope, config.temperature, config.num_samples,
          num_extra_tracks(stein_operator, slopes, config.num_samples),
          slopes == SlopeSource::none ? 0 : config.num_samples};
}

// Replaces each string's slopes by the mean of the others'.
void average_others(const ChannelSamples& samples, std::span<double> sum) {
  std::ranges::fill(sum, 0.0);
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    const std::span<const double> own = samples.local(sample);
    for (int64_t t = 0; t < samples.length; ++t) sum[t] += own[t];
  }
  const double factor = 1 / static_cast<double>(samples.num_samples - 1);
  for (int64_t sample = 0; sample < samples.num_samples; ++sample) {
    const std::span<double> slopes = samples.local(sample);
    for (int64_t t = 0; t < samples.length; ++t) slopes[t] = factor * (sum[t] - slopes[t]);
  }
}

// Takes the mean of both embeddings' rewards off each row's, a constant as far as the strings matter: what is left is
// near 0 on average. The first position retrieves nothing.
void centre(const GateChannel& channel, std::span<double> rewards) {
  const double mean = (channel.emb0 + channel.emb1) / 2;
  for (size_t t = 1; t < rewards.size(); ++t) rewards[t] -= channel.grad_output[t] * mean;
}

double step_of(uint8_t bit) { return bit != 0 ? -1.0 : 1.0; }  // what a flip adds to the bit

}  // namespace

double stein_weight(SteinOperator stein_operator, double probability, uint8_t bit) {
  const double flipped = bit != 0 ? 1 - probability : probability;
  return stein_operator == SteinOperator::barker ? flipped : std::sqrt(flipped / (1 - flipped));
}

// What the estimate is made of, a number for each string and position.
struct SteinEstimator::Parts {
  std::span<double> centred;   // s - p
  std::span<double> own;       // w (1 - 2 s)
  std::span<double> operated;  // L
  std::span<double> moved;     // lin + slope (1 - 2 s)
  std::span<float> room;
  std::span<float> coefficients;  // [num_samples, 3, length]
};

SteinEstimator::SteinEstimator(const GateEstimatorConfig& config, SteinOperator stein_operator, SlopeSource slopes,
                               TrainedWeights weights)
    : SampledEstimator(make_shape(config, stein_operator, slopes)),
      stein_operator_(stein_operator),
      slopes_(slopes),
      train_every_(config.rodeo.train_every),
      weights_(std::move(weights)) {}

double SteinEstimator::evaluations() const {
  const auto num_samples = static_cast<double>(shape().num_samples);
  if (slopes_ == SlopeSource::hard_flips) return num_samples + kFlipEvaluations;
  return slopes_ == SlopeSource::sample_flips ? num_samples * (1 + kFlipEvaluations) : num_samples;
}

void SteinEstimator::begin(GateProblem& problem) {
  problem.read_index();
  first_sample_ = problem.stream().first_sample;
  step_ = problem.stream().step;
  weights_.begin(problem.num_rows());
}

void SteinEstimator::draw(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                          const ChannelSamples& samples) const {
  draw_independent(problem, channel, worker.numbers(kFreeSlot, samples.length), samples);
}

void SteinEstimator::evaluated(GateWorker& worker, const ChannelSamples& samples, int64_t sample) const {
  if (slopes_ == SlopeSource::routes) worker.route_slopes(samples.local(sample));
  if (slopes_ == SlopeSource::sample_flips) worker.flip_effects(samples.sample_bits(sample), samples.local(sample));
}

void SteinEstimator::add_tracks(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                                const ChannelSamples& samples) const {
  const int64_t num_samples = samples.num_samples, length = samples.length;
  for (int64_t sample = 0; sample < num_samples; ++sample) centre(channel, samples.track(sample));
  problem.hard_rewards(channel, samples.track(num_samples));
  centre(channel, samples.track(num_samples));
  const std::span<double> squares = samples.track(num_samples + 1);
  const double half = (channel.emb1 - channel.emb0) / 2;
  for (int64_t t = 0; t < length; ++t) squares[t] = t == 0 ? 0.0 : std::pow(channel.grad_output[t] * half, 2);
  if (slopes_ == SlopeSource::none) return;

  if (slopes_ == SlopeSource::hard_flips) {
    worker.flip_effects(worker.hard_bits(channel, kFreeSlot), samples.local(0));
    for (int64_t sample = 1; sample < num_samples; ++sample) {
      std::ranges::copy(samples.local(0), samples.local(sample).begin());
    }
  } else {
    average_others(samples, worker.numbers(kFreeSlot, length));
  }
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const std::span<const uint8_t> bits = samples.sample_bits(sample);
    const std::span<const double> slopes = samples.local(sample);
    const std::span<double> lin = samples.track(num_samples + 2 + sample);
    for (int64_t t = 0; t < length; ++t) lin[t] = slopes[t] * (bits[t] - channel.probability[t]);
    if (stein_operator_ == SteinOperator::barker) continue;
    const std::span<double> operated = samples.track(2 * num_samples + 2 + sample);
    for (int64_t t = 0; t < length; ++t) {
      operated[t] = stein_weight(stein_operator_, channel.probability[t], bits[t]) * slopes[t] * step_of(bits[t]);
    }
  }
}

SteinEstimator::Parts SteinEstimator::make_parts(const GateChannel& channel, GateWorker& worker,
                                                 const ChannelSamples& samples) const {
  const int64_t num_samples = samples.num_samples, length = samples.length, size = num_samples * length;
  const bool has_slopes = slopes_ != SlopeSource::none;
  Parts parts{worker.numbers(kFreeSlot, size),      worker.numbers(kFreeSlot + 1, size),
              worker.numbers(kFreeSlot + 2, size),  worker.numbers(kFreeSlot + 3, size),
              worker.floats(0, room_size() * size), worker.floats(1, kCoefficients * size)};
  const std::span<double> others = worker.numbers(kFreeSlot + 4, length), scale = worker.numbers(kFreeSlot + 5, length),
                          sum = worker.numbers(kFreeSlot + 6, length);
  std::ranges::fill(sum, 0.0);
  for (int64_t t = 0; t < length; ++t) scale[t] = std::sqrt(samples.track(num_samples + 1)[t]);
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    for (int64_t t = 0; t < length; ++t) sum[t] += samples.track(sample)[t];
  }
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const std::span<const uint8_t> bits = samples.sample_bits(sample);
    const std::span<const double> rewards = samples.track(sample);
    const int64_t begin = sample * length;
    for (int64_t t = 0; t < length; ++t) {
      const double p = channel.probability[t];
      others[t] = (sum[t] - rewards[t]) / static_cast<double>(num_samples - 1);
      parts.centred[begin + t] = bits[t] - p;
      parts.own[begin + t] = stein_weight(stein_operator_, p, bits[t]) * step_of(bits[t]);
      parts.operated[begin + t] = parts.moved[begin + t] = 0;
    }
    const std::span<const double> slopes = has_slopes ? samples.local(sample) : std::span<double>();
    if (has_slopes) {
      const bool is_barker = stein_operator_ == SteinOperator::barker;
      const std::span<const double> lin = samples.track(num_samples + 2 + sample),
                                    operated = samples.track((is_barker ? 1 : 2) * num_samples + 2 + sample);
      for (int64_t t = 0; t < length; ++t) {
        parts.operated[begin + t] = is_barker ? -lin[t] : operated[t];
        parts.moved[begin + t] = lin[t] + slopes[t] * step_of(bits[t]);
      }
    }
    coefficients(weights_.values(), {others, samples.track(num_samples), scale, slopes, channel.probability},
                 parts.room.subspan(room_size() * begin, room_size() * length),
                 parts.coefficients.subspan(kCoefficients * begin, kCoefficients * length));
  }
  return parts;
}

void SteinEstimator::weigh(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples) {
  const int64_t num_samples = samples.num_samples, length = samples.length;
  const Parts parts = make_parts(channel, worker, samples);
  const double alpha = weights_.values()[kAlpha], beta = weights_.values()[kBeta];
  const std::span<double> sum = worker.numbers(kFreeSlot + 6, length), scale = worker.numbers(kFreeSlot + 5, length);
  std::ranges::fill(sum, 0.0);
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const float* b = parts.coefficients.data() + kCoefficients * sample * length;
    for (int64_t t = 0; t < length; ++t) {
      sum[t] += samples.track(sample)[t] + alpha * b[t] * parts.operated[sample * length + t];
    }
  }
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const std::span<const double> rewards = samples.track(sample);
    const int64_t begin = sample * length;
    const float* b = parts.coefficients.data() + kCoefficients * begin;
    const float *constant = b + length, *linear = constant + length;
    for (int64_t t = 0; t < length; ++t) {
      const double operated = parts.operated[begin + t], centred = parts.centred[begin + t];
      const double baseline = (sum[t] - rewards[t] - alpha * b[t] * operated) / static_cast<double>(num_samples - 1);
      const double variate = linear[t] * operated * centred +
                             parts.own[begin + t] * (constant[t] * scale[t] + linear[t] * parts.moved[begin + t]);
      channel.gradient[t] += ((rewards[t] - baseline) * centred + beta * variate) / static_cast<double>(num_samples);
    }
  }
  const uint64_t sequence = first_sample_ + static_cast<uint64_t>(channel.batch);
  const uint64_t turn = sequence + static_cast<uint64_t>(channel.channel) + step_;
  if (turn % static_cast<uint64_t>(train_every_) == 0) train(channel, worker, samples, parts);
}

// The gradient, for the weights, of the mean square of the estimate, relative to the size of the row's rewards.
void SteinEstimator::train(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples,
                           const Parts& parts) {
  const int64_t num_samples = samples.num_samples, length = samples.length;
  const std::span<const double> scale = worker.numbers(kFreeSlot + 5, length);
  if (length == 0 || scale[0] <= 0) return;
  const std::span<double> outer = worker.numbers(kFreeSlot + 4, length), sum = worker.numbers(kFreeSlot + 6, length);
  std::ranges::fill(sum, 0.0);
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    for (int64_t t = 0; t < length; ++t) sum[t] += parts.centred[sample * length + t];
  }
  const double factor = 2 / (scale[0] * scale[0] * static_cast<double>(length * num_samples));
  for (int64_t t = 0; t < length; ++t) outer[t] = factor * channel.gradient[t];

  const double alpha = weights_.values()[kAlpha], beta = weights_.values()[kBeta];
  const std::span<float> gradient = weights_.row_gradient(channel.row);
  const std::span<float> result_gradient = worker.floats(2, kCoefficients * length);
  double alpha_gradient = 0, beta_gradient = 0;
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const int64_t begin = sample * length;
    const float* b = parts.coefficients.data() + kCoefficients * begin;
    const float *constant = b + length, *linear = constant + length;
    float *to_b = result_gradient.data(), *to_constant = to_b + length, *to_linear = to_constant + length;
    for (int64_t t = 0; t < length; ++t) {
      const double operated = parts.operated[begin + t], centred = parts.centred[begin + t];
      const double baseline = -operated * (sum[t] - centred) / static_cast<double>(num_samples - 1);
      const double by_constant = parts.own[begin + t] * scale[t];
      const double by_linear = operated * centred + parts.own[begin + t] * parts.moved[begin + t];
      alpha_gradient += outer[t] * baseline * b[t];
      beta_gradient += outer[t] * (by_constant * constant[t] + by_linear * linear[t]);
      to_b[t] = static_cast<float>(outer[t] * alpha * baseline);
      to_constant[t] = static_cast<float>(outer[t] * beta * by_constant);
      to_linear[t] = static_cast<float>(outer[t] * beta * by_linear);
    }
    coefficients_backward(weights_.values(), parts.room.subspan(room_size() * begin, room_size() * length),
                          result_gradient, gradient);
  }
  gradient[kAlpha] += static_cast<float>(alpha_gradient);
  gradient[kBeta] += static_cast<float>(beta_gradient);
}

}  // namespace rosa
