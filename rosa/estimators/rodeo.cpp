// rodeo (Shi et al. 2022): leave-one-out with control variates whose coefficients a two-layer network learns, at every
// position from what does not depend on the string there: the others' rewards and that of the hard bits.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/random.h"
#include "rosa/estimators/stein_estimator.h"

namespace rosa {
namespace {

constexpr int64_t kInputs = 4, kOutputs = 3, kScales = 2;  // alpha and beta
constexpr float kLeak = 0.1F;

// Where the parts of the flat weights lie.
struct Layout {
  explicit Layout(int64_t width)
      : first(kScales),
        first_bias(first + width * kInputs),
        second(first_bias + width),
        second_bias(second + kOutputs * width),
        size(second_bias + kOutputs) {}
  int64_t first, first_bias, second, second_bias, size;
};

// Linear layers by PyTorch's default initialisation, the same in every run; alpha and beta 0.
std::vector<float> initial_weights(int64_t width) {
  const Layout layout(width);
  std::vector<float> weights(layout.size, 0.0F);
  base::RandomStream random({0, 0, 0, 0, 0});
  for (int64_t i = layout.first; i < layout.size; ++i) {
    const double bound = 1 / std::sqrt(static_cast<double>(i < layout.second ? kInputs : width));
    weights[i] = static_cast<float>(bound * (2 * random.uniform() - 1));
  }
  return weights;
}

float dot(const float* left, const float* right, int64_t size) {
  constexpr int64_t kLanes = 16;  // side by side, so that the order of the sum is that of vectors
  std::array<float, kLanes> sums{};
  int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += left[i + lane] * right[i + lane];
  }
  float sum = 0;
  for (; i < size; ++i) sum += left[i] * right[i];
  for (float lane : sums) sum += lane;
  return sum;
}

SlopeSource slope_source(RodeoSlopes slopes) {
  switch (slopes) {
    case RodeoSlopes::none:
      return SlopeSource::none;
    case RodeoSlopes::routes:
      return SlopeSource::routes;
    case RodeoSlopes::flips:
      return SlopeSource::hard_flips;
  }
  return SlopeSource::none;
}

class RodeoEstimator final : public SteinEstimator {
 public:
  explicit RodeoEstimator(const GateEstimatorConfig& config)
      : SteinEstimator(config, config.rodeo.stein_operator, slope_source(config.rodeo.slopes),
                       TrainedWeights("rodeo", initial_weights(config.rodeo.hidden_width), config.learning_rate)),
        width_(config.rodeo.hidden_width),
        layout_(width_) {}

 protected:
  // Inputs, then hidden units, of every position.
  int64_t room_size() const override { return kInputs + width_; }

  void coefficients(const float* weights, const SteinInputs& inputs, std::span<float> room,
                    std::span<float> result) const override {
    const auto length = static_cast<int64_t>(inputs.others.size());
    float *features = room.data(), *hidden = features + kInputs * length;
    for (int64_t t = 0; t < length; ++t) {
      const double inverse = inputs.scale[t] > 0 ? 1 / inputs.scale[t] : 0.0;
      features[t] = static_cast<float>(inputs.others[t] * inverse);
      features[length + t] = static_cast<float>(inputs.hard[t] * inverse);
      features[2 * length + t] = static_cast<float>(std::abs(2 * inputs.probability[t] - 1));
      features[3 * length + t] = inputs.slopes.empty() ? 0.0F : static_cast<float>(inputs.slopes[t] * inverse);
    }
    layer(weights + layout_.first, weights + layout_.first_bias, features, kInputs, hidden, width_, length);
    for (int64_t i = 0; i < width_ * length; ++i) hidden[i] = std::max(hidden[i], kLeak * hidden[i]);
    layer(weights + layout_.second, weights + layout_.second_bias, hidden, width_, result.data(), kOutputs, length);
  }

  void coefficients_backward(const float* weights, std::span<const float> room, std::span<const float> result_gradient,
                             std::span<float> weight_gradient) const override {
    const auto length = static_cast<int64_t>(result_gradient.size()) / kOutputs;
    const float *features = room.data(), *hidden = features + kInputs * length;
    thread_local std::vector<float> to_hidden;
    to_hidden.resize(length);
    for (int64_t output = 0; output < kOutputs; ++output) {
      const float* gradient = result_gradient.data() + output * length;
      for (int64_t t = 0; t < length; ++t) weight_gradient[layout_.second_bias + output] += gradient[t];
      for (int64_t unit = 0; unit < width_; ++unit) {
        weight_gradient[layout_.second + output * width_ + unit] += dot(gradient, hidden + unit * length, length);
      }
    }
    for (int64_t unit = 0; unit < width_; ++unit) {
      for (int64_t t = 0; t < length; ++t) {
        float sum = 0;
        for (int64_t output = 0; output < kOutputs; ++output) {
          sum += weights[layout_.second + output * width_ + unit] * result_gradient[output * length + t];
        }
        to_hidden[t] = sum * (hidden[unit * length + t] > 0 ? 1.0F : kLeak);
      }
      for (int64_t input = 0; input < kInputs; ++input) {
        weight_gradient[layout_.first + unit * kInputs + input] +=
            dot(to_hidden.data(), features + input * length, length);
      }
      for (int64_t t = 0; t < length; ++t) weight_gradient[layout_.first_bias + unit] += to_hidden[t];
    }
  }

 private:
  // outputs[o, t] = bias[o] + sum of matrix[o, i] inputs[i, t].
  static void layer(const float* matrix, const float* bias, const float* inputs, int64_t num_inputs, float* outputs,
                    int64_t num_outputs, int64_t length) {
    for (int64_t output = 0; output < num_outputs; ++output, outputs += length) {
      std::fill_n(outputs, length, bias[output]);
      for (int64_t input = 0; input < num_inputs; ++input) {
        const float weight = matrix[output * num_inputs + input];
        for (int64_t t = 0; t < length; ++t) outputs[t] += weight * inputs[input * length + t];
      }
    }
  }

  int64_t width_;
  Layout layout_;
};

}  // namespace

std::unique_ptr<GateEstimator> make_gate_rodeo(const GateEstimatorConfig& config) {
  return std::make_unique<RodeoEstimator>(config);
}

}  // namespace rosa
