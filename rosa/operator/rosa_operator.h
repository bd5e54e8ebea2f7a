// The tensor operator of ROSA: what its options and tensors are, and the call that models use.
// Hard output from the automata (host_executor.h; the definition is in rosa/automaton/match.h), gradients from an
// estimator (qkv_estimator.h).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "rosa/operator/host_executor.h"

namespace rosa {

class QkvEstimator;
// The estimator of options that name no other: sufa.
const QkvEstimator& default_estimator();

// How the proxy is computed. fused: kernels of our own where there is one for the device, dtype and mask, else
// composed. sdpa (SUFA only): LibTorch's scaled_dot_product_attention on widened rows. composed: plain tensor
// operations.
enum class ProxyKernel { fused, sdpa, composed };
// What a flip's effect is multiplied by to be the gradient of its logit x: softsign, 1 / (2 (1 + |x|)^2), or sigmoid,
// p (1 - p) with p = sigmoid(x); x in units of bits_tau.
enum class FlipScale { softsign, sigmoid };
// How SUFA and soft ROSA prefer late positions: not at all; by exp(-distance / 8192); or by the logarithm of the
// distance, which falls to 0 at 8192. With log SUFA has another form: see proxies.h.
enum class PositionBias { none, exp, log };
// What the proxy may see: every earlier position, or the student's sliding window.
enum class ProxyMask { causal, sliding_window };
// Controls. zeroed: every bit 0 and nothing matched. shuffled: the value symbols are permuted in time within each
// sequence or document, by a fixed seed. windowed: the hard operator sees only t - i < sliding_window, and takes time
// quadratic in the length; only this one can be trained with.
enum class OperatorControl { none, zeroed, shuffled, windowed };

// What a match retrieves: the value after its latest place, or the mean of the values after all its places.
enum class Candidates { latest, mean };

struct OperatorOptions {
  const QkvEstimator* estimator = &default_estimator();  // one of qkv_estimators()
  ProxyKernel proxy_kernel = ProxyKernel::fused;
  ProxyMask proxy_mask = ProxyMask::causal;
  FlipScale flip_scale = FlipScale::softsign;
  int64_t sliding_window = 128;  // of the student; for proxy_mask sliding_window and control windowed
  double bits_tau = 1;
  double attn_tau = 1;
  double alpha = 1;             // y = soft + alpha (hard - soft) in training
  int64_t sufa_head_dim = 128;  // a multiple of the query bits: W = sufa_head_dim / D symbols are compared
  PositionBias position_bias = PositionBias::exp;
  // The value logits get the straight-through gradient of the retrieved row instead of the estimator's: row i*(t) + 1
  // receives grad(t) * sigmoid'(v / bits_tau) / bits_tau; a position without a match gives none.
  bool exact_value_gradient = false;
  bool want_lengths = false;  // of the matches, in the output
  Candidates candidates = Candidates::latest;
  bool training = false;
  OperatorControl control = OperatorControl::none;
  int64_t layer = -1;  // whose statistics and trace the call belongs to; -1: no statistics
};

// Logits and what restricts them; one device. The hard operator uses documents and mask, the proxy these and
// proxy_mask.
struct OperatorInput {
  at::Tensor query;      // [B,H,T,D] floating point
  at::Tensor key;        // [B,G,T,D], H a multiple of G
  at::Tensor value;      // [B,G,T,M], 1 <= D, M <= 63
  at::Tensor mask;       // undefined, or bool [1|B,1|H,T,T]: false where (t,i) may not match
  at::Tensor documents;  // undefined, or int64 [B,T]: number of the document, non-decreasing along T
};

// The same as packed symbols (symbols.h), for calls whose logits get no gradient: a byte where those are floats.
struct OperatorSymbols {
  at::Tensor query, key, value;  // [B,H,T], [B,G,T], [B,G,T]
  int64_t query_bits = 0, value_bits = 0;
  at::Tensor documents;  // undefined, or int64 [B,T]
};

// Whether a call with these options gives its logits a gradient.
bool has_logit_gradient(const OperatorOptions& options);

struct OperatorOutput {
  at::Tensor bits;     // [B,H,T,M] of the query's dtype (at least float32), a transposed view of a contiguous
                       // [B,T,H,M]; in training blended with alpha, in evaluation 0 or 1, or a mean of these
  at::Tensor matched;  // bool [B,H,T]: whether position t had a match
  at::Tensor lengths;  // uint8 [B,H,T]: see HardResult; only where the options asked for them
};

// One call of the operator, in two halves, so that the automata run beside whatever is done between them.
// `recorded` is for activation checkpointing, which runs the same forward twice. An empty result is filled by the call;
// a filled one is used, and no automata run; null keeps nothing. It must outlive the call, as must the executor.
class RosaCall {
 public:
  // Packs the symbols, hands them to the automata and returns at once. Throws ArgumentError for shapes, dtypes and
  // options that don't fit, ConfigError for an estimator that can't do what is asked of it in training.
  RosaCall(OperatorInput input, OperatorOptions options, HostExecutor& executor, HardResult* recorded = nullptr);
  // The same of packed symbols, which may be undefined where the result is recorded; for finish_hard(). Throws
  // ArgumentError where the options have a gradient.
  RosaCall(const OperatorSymbols& symbols, OperatorOptions options, HostExecutor& executor,
           HardResult* recorded = nullptr);

  // Waits for the automata and returns the output, differentiable in training; to be called once, with the gradient
  // mode of the constructor. In training with alpha == 1 the forward is exactly the hard operator and the estimator
  // runs only in the backward; with alpha < 1 its soft output is made here, before the wait. Rethrows what a worker
  // threw.
  OperatorOutput finish();
  // In its place: what the automata gave, as the control changes it; hard_bits() makes the bits of any part of it.
  HardResult finish_hard();

 private:
  friend class RosaFunction;

  HardResult wait();

  OperatorInput input_;
  OperatorOptions options_;
  HostExecutor& executor_;
  HardResult* recorded_;
  HostExecutor::Ticket ticket_;  // null where the result is recorded
  at::Tensor lengths_;           // on their way to the output, past autograd
};

// Both halves at once.
OperatorOutput rosa_operator(const OperatorInput& input, const OperatorOptions& options, HostExecutor& executor,
                             HardResult* recorded = nullptr);

}  // namespace rosa
