// RMSNorm in float32 whatever the input's dtype, with a short backward of its own.
#pragma once

#include <ATen/ATen.h>

namespace rosa::models {

// weight * (x / sqrt(mean(x^2) + epsilon)) over the last dimension; x [...,n], weight [n]. The result has x's dtype.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

}  // namespace rosa::models
