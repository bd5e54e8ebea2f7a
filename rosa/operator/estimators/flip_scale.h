// From what flips of bits do to the gradients of their logits, for the estimators that flip.
#pragma once

#include <ATen/ATen.h>

#include "rosa/operator/rosa_operator.h"

namespace rosa {

// The derivative of a soft bit at its logit, by options.flip_scale and bits_tau: positive, at most 1/2.
inline at::Tensor soft_bit_derivative(const at::Tensor& logits, const OperatorOptions& options) {
  const at::Tensor x = logits / options.bits_tau;
  if (options.flip_scale == FlipScale::sigmoid) {
    const at::Tensor p = at::sigmoid(x);
    return p * (1 - p) / options.bits_tau;
  }
  return (2 * options.bits_tau * (1 + x.abs()).square()).reciprocal();
}

// effects: what the flip of each logit's bit adds to the loss. A flip takes a bit of 1 down and one of 0 up.
inline at::Tensor gradient_of_flips(const at::Tensor& logits, const at::Tensor& effects,
                                    const OperatorOptions& options) {
  const at::Tensor upwards = at::where(logits > 0, -effects, effects);
  return upwards * soft_bit_derivative(logits, options);
}

}  // namespace rosa
