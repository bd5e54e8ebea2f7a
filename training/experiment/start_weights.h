// StartWeights: fills a model's weights at the start, by name; PyTorch's default distributions, a function of the seed.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "training/optimizer.h"

namespace rosa::training {

class StartWeights {
 public:
  StartWeights(uint64_t seed, NamedTensors& parameters) : seed_(seed), parameters_(parameters) {}

  void add(const std::string& name, const at::Tensor& value) {
    parameters_[name] = value.clone().requires_grad_();
    ++number_;
  }
  // nn.Embedding's.
  void add_normal(const std::string& name, const std::vector<int64_t>& shape) {
    fill(name, shape, [](base::RandomStream& random) { return random.normal(); });
  }
  // nn.Linear's weight and bias: within +-1/sqrt(inputs).
  void add_uniform(const std::string& name, const std::vector<int64_t>& shape, int64_t num_inputs) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(num_inputs));
    fill(name, shape, [bound](base::RandomStream& random) { return bound * (2 * random.uniform() - 1); });
  }

 private:
  template <class Draw>
  void fill(const std::string& name, const std::vector<int64_t>& shape, Draw draw) {
    constexpr uint64_t kUse = 0x3e160001;  // "layer": no other random numbers of this seed have it
    base::RandomStream random({.seed = seed_, .step = 0, .sample = number_, .layer = kUse});
    at::Tensor tensor = at::empty(shape, at::kFloat);
    auto* values = tensor.mutable_data_ptr<float>();
    for (int64_t i = 0; i < tensor.numel(); ++i) values[i] = static_cast<float>(draw(random));
    add(name, tensor);
  }

  uint64_t seed_;
  NamedTensors& parameters_;
  uint64_t number_ = 0;
};

}  // namespace rosa::training
