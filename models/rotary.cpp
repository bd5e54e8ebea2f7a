#include "models/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace rosa::models {
namespace {

// theta^(-2i/d) for each pair i.
at::Tensor plain_frequencies(int64_t head_dim, double theta) {
  const at::Tensor exponents = at::arange(0, head_dim, 2, at::kFloat) / static_cast<double>(head_dim);
  return at::pow(theta, exponents).reciprocal();
}

double dynamic_theta(const Rotary& rotary, int64_t length) {
  const auto longest = static_cast<double>(std::max(length, rotary.max_position_embeddings));
  const auto d = static_cast<double>(rotary.head_dim);
  const double factor = rotary.scaling.factor;
  const double growth = factor * longest / static_cast<double>(rotary.max_position_embeddings) - (factor - 1);
  return rotary.theta * std::pow(growth, d / (d - 2));
}

at::Tensor yarn_frequencies(const Rotary& rotary) {
  const RopeScaling& scaling = rotary.scaling;
  const auto d = static_cast<double>(rotary.head_dim);
  // The pair that turns `turns` times over the original length.
  const auto pair_of = [&](double turns) {
    const auto length = static_cast<double>(scaling.original_max_position_embeddings);
    return d * std::log(length / (turns * 2 * std::numbers::pi)) / (2 * std::log(rotary.theta));
  };
  double low = pair_of(scaling.beta_fast), high = pair_of(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, d - 1);
  if (low == high) high += 0.001;
  const at::Tensor kept = 1 - at::clamp((at::arange(rotary.head_dim / 2, at::kFloat) - low) / (high - low), 0, 1);
  const at::Tensor exponents = at::arange(0, rotary.head_dim, 2, at::kFloat) / d;
  const at::Tensor periods = at::pow(rotary.theta, exponents);
  return (scaling.factor * periods).reciprocal() * (1 - kept) + periods.reciprocal() * kept;
}

at::Tensor llama3_frequencies(const Rotary& rotary) {
  const RopeScaling& scaling = rotary.scaling;
  const auto length = static_cast<double>(scaling.original_max_position_embeddings);
  const at::Tensor plain = plain_frequencies(rotary.head_dim, rotary.theta);
  const at::Tensor wavelengths = 2 * std::numbers::pi * plain.reciprocal();
  const at::Tensor is_long = wavelengths > length / scaling.low_freq_factor;
  const at::Tensor is_short = wavelengths < length / scaling.high_freq_factor;
  const at::Tensor share =
      (length / wavelengths - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor between = (1 - share) * plain / scaling.factor + share * plain;
  return at::where(is_long, plain / scaling.factor, at::where(is_short, plain, between));
}

double yarn_scale(double factor, double mscale) { return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0; }

}  // namespace

at::Tensor Rotary::frequencies(int64_t length) const {
  switch (scaling.type) {
    case RopeType::linear:
      return plain_frequencies(head_dim, theta) / scaling.factor;
    case RopeType::dynamic:
      return plain_frequencies(head_dim, dynamic_theta(*this, length));
    case RopeType::yarn:
      return yarn_frequencies(*this);
    case RopeType::llama3:
      return llama3_frequencies(*this);
    case RopeType::plain:
      break;
  }
  return plain_frequencies(head_dim, theta);
}

double Rotary::cos_sin_scale() const {
  if (scaling.type != RopeType::yarn) return 1.0;
  if (scaling.attention_factor.has_value()) return *scaling.attention_factor;
  const double mscale = scaling.mscale.value_or(0), mscale_all_dim = scaling.mscale_all_dim.value_or(0);
  if (mscale == 0 || mscale_all_dim == 0) return yarn_scale(scaling.factor, 1);
  return yarn_scale(scaling.factor, mscale) / yarn_scale(scaling.factor, mscale_all_dim);
}

}  // namespace rosa::models
