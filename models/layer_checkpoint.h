// Activation checkpointing of one layer: the forward keeps only the layer's input, the backward runs the layer again.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <vector>

namespace rosa::models {

// Returns layer(hidden). `layer` must give the same bits when it is called again in the backward; `parameters` are the
// tensors inside it that require a gradient. Gradients equal those without checkpointing bit for bit.
at::Tensor run_checkpointed(std::function<at::Tensor(const at::Tensor&)> layer, const at::Tensor& hidden,
                            const std::vector<at::Tensor>& parameters);

}  // namespace rosa::models
