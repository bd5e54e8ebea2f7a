// AdamW over a named, ordered set of parameters whose gradients come as one flat buffer; the global norm and clipping.
// Does not reduce over ranks: every rank steps with equal gradients and so keeps equal weights.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "base/stateful.h"

namespace rosa::training {

// Parameters by full name; the order of the names is the order of the flat gradient.
using NamedTensors = std::map<std::string, at::Tensor>;

struct OptimizerConfig {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double clip = 1.0;  // largest global gradient norm; 0: no clipping
  std::vector<std::string>
      rate_patterns;                 // "*pattern*" of parameter names with a learning-rate factor of their own ...
  std::vector<double> rate_factors;  // ... one a pattern; 0 freezes
};

void describe(base::FieldVisitor& visitor, OptimizerConfig& config);

// Whether `name` matches a pattern in which * stands for any text.
bool matches_pattern(const std::string& name, const std::string& pattern);

// The factor of the first pattern that matches, 1 where none does. Throws ConfigError where the lists differ in length.
double rate_factor(const OptimizerConfig& config, const std::string& name);

// Those of `parameters` that a pattern of `trainable` matches and whose rate factor is not 0. Throws ConfigError for a
// pattern that matches nothing, and where nothing is left to train.
NamedTensors select_trained(const NamedTensors& parameters, const std::vector<std::string>& trainable,
                            const OptimizerConfig& config);

// Number of elements of the flat buffer of all parameters.
int64_t flat_size(const NamedTensors& parameters);

// Moves the parameters' gradients into a fresh flat float32 buffer in name order and clears them; parameters without a
// gradient count as zero.
at::Tensor take_flat_gradient(const NamedTensors& parameters);

// Global L2 norm from float64 sums over blocks of 4096 elements of each parameter, combined in name order: the same
// bits whatever the ranks, buckets or shards.
double gradient_norm(const NamedTensors& parameters, const at::Tensor& flat_gradient);

// Scales by min(1, clip / (norm + 1e-6)); clip 0 leaves the gradient as it is.
void clip_gradient(at::Tensor& flat_gradient, double norm, double clip);

class AdamW : public base::Stateful {
 public:
  // `parameters` are updated in place.
  AdamW(OptimizerConfig config, const NamedTensors& parameters);

  // One step of decoupled AdamW (ATen's fused kernel) with the gradient in name order.
  void step(const at::Tensor& flat_gradient, double learning_rate);

  base::StateDict save_state() const override;
  void load_state(const base::StateDict& state) override;

 private:
  struct Group {  // parameters of one learning-rate factor
    double factor = 1.0;
    std::vector<std::string> names;
    std::vector<at::Tensor> parameters, first_moments, second_moments;
    std::vector<std::pair<int64_t, int64_t>> slices;  // (offset, size) in the flat gradient
  };

  OptimizerConfig config_;
  std::vector<Group> groups_;
  int64_t num_steps_ = 0;
};

}  // namespace rosa::training
