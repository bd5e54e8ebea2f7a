// The proxies through the fused CPU kernels (rosa/kernels/sufa.h, soft_rosa.h, dense_surrogate.h): for float32 and
// below on the CPU, without a general mask. Memory O(T) a thread.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <vector>

#include "rosa/operator/proxies.h"

namespace rosa {

// Whether the two functions below can do this call.
bool can_fuse(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);

// As proxy_forward (which has no fused form of the dense surrogate) and proxy_backward. Sequences and key/value heads
// are spread over ATen's threads; the result does not depend on their number.
at::Tensor fused_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);
std::array<at::Tensor, 3> fused_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed);

// What every fused form computes from the options.
// Whether no mask but the causal one and the window restricts the call, and a row but the first sees something.
bool has_plain_mask(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);
// p(t,j) / attn_tau at the distances t - j = 0 ... length-1, or zeros where the proxy has no position bias; padded with
// zeros to `size`. The kernels have one form of SUFA: column j is key j - 1 and carries value j. The logarithmic SUFA
// is that, less the first column (sufa_hidden) and less one of the window (visible_distance).
std::vector<float> fused_bias(Proxy proxy, const OperatorOptions& options, int64_t length, int64_t size);
// Of SUFA's scores: 1 / (attn_tau sqrt(sufa_head_dim)).
double sufa_scale(const OperatorOptions& options);
// Soft ROSA's (D - 1) (1 - bits_tau) / bits_tau, what is subtracted within the sigmoid.
double soft_rosa_offset(const OperatorOptions& options, int64_t query_bits);
// How many first columns SUFA does not see.
int64_t sufa_hidden(const OperatorOptions& options);
// How many columns back the proxy sees: the sliding window, or `length`.
int64_t visible_distance(Proxy proxy, const OperatorOptions& options, int64_t length);

// The logits as the kernels take them: float32 tanh(query / bits_tau), tanh(key / bits_tau), sigmoid(value / bits_tau);
// of the dense surrogate the signs.
struct FusedRows {
  FusedRows(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);

  // From the gradients for these rows to those for the logits, in the logits' dtypes; undefined stays undefined.
  std::array<at::Tensor, 3> logit_gradients(const std::array<at::Tensor, 3>& gradients, const OperatorInput& input,
                                            const OperatorOptions& options) const;

  Proxy proxy;
  at::Tensor query, key, value;
};

}  // namespace rosa
