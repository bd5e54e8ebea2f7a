// The differentiable stand-ins of the hard operator: SUFA and soft ROSA (SPEC section 2). Not the hard operator.
#pragma once

#include <ATen/ATen.h>

#include <array>

#include "rosa/operator/rosa_operator.h"

namespace rosa {

// Position bias: p(t, j) = exp((j - t - 1) / kPositionScale).
constexpr double kPositionScale = 8192;

// The proxy as a plain composition of tensor operations, on any device and in any floating dtype (below float32:
// computed in float32), differentiable by autograd. Memory O(B H T^2). The oracle of the faster forms below. Returns
// [B,H,T,M].
at::Tensor proxy_composition(const OperatorInput& input, const OperatorOptions& options);

// The same without a graph, and its gradients, in blocks of a few heads so that little of it is in memory at once.
at::Tensor proxy_blocks_forward(const OperatorInput& input, const OperatorOptions& options);
std::array<at::Tensor, 3> proxy_blocks_backward(const OperatorInput& input, const OperatorOptions& options,
                                                const at::Tensor& grad_output, const std::array<bool, 3>& needed);

// The proxy's output without a graph. Uses the fused kernel where there is one, else the blocks.
at::Tensor proxy_forward(const OperatorInput& input, const OperatorOptions& options);

// The gradients for query, key and value (undefined where not needed), given that of proxy_forward's output; evaluates
// the proxy again, so nothing has to be saved but the inputs.
std::array<at::Tensor, 3> proxy_backward(const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed);

}  // namespace rosa
