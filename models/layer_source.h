// LayerSource: where the projections of a model's layers come from when the model itself does not hold them. The seam
// between a forward and whoever shares the weights out; knows no ranks.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>

#include "models/model_config.h"

namespace rosa::models {

class LayerSource {
 public:
  virtual ~LayerSource() = default;
  // The whole weight, [out,in] in the compute dtype, on the device of the forward. It may be overwritten as soon as
  // another layer is asked for. A forward asks for layer after layer, its backward again in the order that it needs
  // them, on one thread at a time. May be collective: then every rank asks for the same layers in the same order.
  virtual at::Tensor weight(int64_t layer, Projection projection) = 0;
};

// at::linear(input, weight, bias) with a frozen weight and bias (undefined: none), bit for bit, with its gradient in
// `input`, [...,in]. Keeps neither weight nor input for the backward: it asks `source` again.
at::Tensor frozen_linear(const at::Tensor& input, const std::shared_ptr<LayerSource>& source, int64_t layer,
                         Projection projection, const at::Tensor& bias);

}  // namespace rosa::models
