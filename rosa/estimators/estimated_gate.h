// The 1-bit gate as a differentiable function: forward by one_bit_gate, gradient of the logits by an estimator.
#pragma once

#include <ATen/ATen.h>

#include "rosa/estimators/gate_estimator.h"

namespace rosa {

// [B,T,C]: 0, emb0 or emb1 of the channel; arguments as one_bit_gate's. In the backward emb0 and emb1 get their exact
// gradients and x what the estimator says. Estimator and executor outlive the backward. Throws ArgumentError where the
// shapes don't fit.
at::Tensor estimated_gate(const at::Tensor& x, const at::Tensor& emb0, const at::Tensor& emb1, GateEstimator& estimator,
                          const GateStream& stream, HostExecutor& executor);

}  // namespace rosa
