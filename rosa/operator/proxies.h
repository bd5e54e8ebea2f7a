// The differentiable stand-ins of the hard operator, after rosa_soft: SUFA, soft ROSA and the dense surrogate, whose
// gradient alone is meant to be used. Not the hard operator.
#pragma once

// With q^ = tanh(q / tau_b), k^ = tanh(k / tau_b), v^ = sigmoid(v / tau_b), head size h, W = h / D and the position
// bias p(t,j): 0 for PositionBias none, exp((j - t - 1) / 8192) for exp, b(t - j + 2) for log, where b(x) = max(0, 1 -
// max(ln x, 1) / ln 8192):
//   SUFA       s(t,j) = sum over w < W of <q^[t-w], k^[j-1-w]> / (tau_a sqrt(h)), 0 where an index is negative
//              out(t) = sum over j <= t of softmax_j(s(t,j) + p(t,j) / tau_a) v^[j]; a mask acts on (t,j), and a row
//              without an allowed cell gives 0
//   ... log    s(t,j) = sum over w < W of <q^[t-w], k^[j-w]> / (tau_a sqrt(h))
//              out(t) = sum over j < t of softmax_j(s(t,j) + b(t - j + 1) / tau_a) v^[j+1]; masks and empty rows as
//              above
//   soft ROSA  a(t,i) = sigmoid((<q^[t], k^[i]> - (D-1)(1-tau_b)) / tau_b) for i < t, 0 where masked;
//              along every diagonal c = running sum of a, r = running maximum of c (1 - a);
//              S(t,0) = 0, S(t,i+1) = (c - r)(t,i)
//              out(t) = min(1, max_j S(t,j)) sum over j <= t of softmax_j((S(t,j) + p(t,j)) / tau_a) v^[j]
//   dense      sg(x) = 1 where x > 0, else -1, with the derivative 1 / (1 + |x|)^2, of the logits / tau_b;
//   surrogate  m(t,i) = exp(-3 (1 - <sg(q)[t], sg(k)[i]> / D) / 2) for i < t, 0 where masked;
//              S(t,a) = sum over l = 1 ... 32 of the product over u < l of m(t-u, a-1-u), U = (sqrt 2 + 1)(sqrt(1+S) -
//              1) out(t) = (1 + sum over a of P(t,a) sg(v)[a]) / 2, P(t,.) = softmax over the n routes a = 1 ... t that
//              are not masked, with logits U / tau_a - log n, and a route that carries 0, with logit 1 / (2 tau_a)
// Every document of a packed sequence is as if alone.

#include <ATen/ATen.h>

#include <array>

#include "rosa/operator/rosa_operator.h"

namespace rosa {

// The 8192 of the position biases.
constexpr double kPositionScale = 8192;

enum class Proxy { sufa, soft_rosa, dense_surrogate };

// The proxy as a plain composition of tensor operations, on any device and in any floating dtype (below float32:
// computed in float32), differentiable by autograd. Memory O(B H T^2). The oracle of the faster forms below. Returns
// [B,H,T,M].
at::Tensor proxy_composition(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);

// The same without a graph, and its gradients, in blocks of a few heads so that little of it is in memory at once.
at::Tensor proxy_blocks_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);
std::array<at::Tensor, 3> proxy_blocks_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                                const at::Tensor& grad_output, const std::array<bool, 3>& needed);

// The proxy's output without a graph, by the kernel that options.proxy_kernel names; where there is no fused one (a
// general mask, float64), the blocks.
at::Tensor proxy_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);

// The gradients for query, key and value (undefined where not needed), given that of proxy_forward's output; evaluates
// the proxy again, so nothing has to be saved but the inputs.
std::array<at::Tensor, 3> proxy_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed);

}  // namespace rosa
