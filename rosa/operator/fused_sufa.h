// SUFA through the fused CPU kernel (rosa/kernels/sufa.h): for float32 and below on the CPU, without a general mask.
#pragma once

#include <ATen/ATen.h>

#include <array>

#include "rosa/operator/rosa_operator.h"

namespace rosa {

// Whether the two functions below can do this call.
bool can_fuse(const OperatorInput& input, const OperatorOptions& options);

// As proxy_forward and proxy_backward. Sequences and key/value heads are spread over ATen's threads; the result does
// not depend on their number.
at::Tensor fused_forward(const OperatorInput& input, const OperatorOptions& options);
std::array<at::Tensor, 3> fused_backward(const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed);

}  // namespace rosa
