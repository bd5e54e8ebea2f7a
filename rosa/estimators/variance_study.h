// How good an estimator is on one call: mean, variance, bias and direction of its estimates against a reference, and
// how well the linearised reward that all estimators use predicts the true loss. Nothing here trains.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>

#include "rosa/estimators/gate_estimator.h"

namespace rosa {

// The longest channel whose strings are enumerated.
inline constexpr int64_t kMaxEnumeratedLength = 20;

// double [B,T,C]: the exact gradient of E[f] by enumerating the 2^T strings of every channel; T at most
// kMaxEnumeratedLength (ArgumentError).
at::Tensor enumerated_gradient(const GateCall& call, double temperature, HostExecutor& executor);

// double [B,T,C]: the mean of `num_draws` estimates, for a reference where T is too long to enumerate (of an unbiased
// estimator, usually leg).
at::Tensor mean_gradient(GateEstimator& estimator, const GateCall& call, int64_t num_draws, HostExecutor& executor);

struct GradientStudy {
  int64_t num_draws = 0;
  double evaluations = 0;     // of the operator, one estimate
  double seconds = 0;         // of one estimate, wall time
  double squared_norm = 0;    // of the reference
  double variance = 0;        // mean squared distance from the mean, summed over the elements
  double bias = 0;            // squared distance of the mean from the reference, less what the variance makes of it
                              // (may be below 0: no bias found)
  double cosine = 0;          // mean cosine between an estimate and the reference
  at::Tensor mean;            // double [B,T,C]
  at::Tensor standard_error;  // double [B,T,C], of the mean

  double relative_variance() const { return variance / squared_norm; }
  double relative_bias() const { return bias / squared_norm; }
};

// Estimates `num_draws` (at least 2) times with streams derived from the call's. The estimator's own state and
// gradients are as before.
GradientStudy study_gradient(GateEstimator& estimator, const GateCall& call, const at::Tensor& reference,
                             int64_t num_draws, HostExecutor& executor);

struct LinearisationStudy {
  double correlation = 0;        // of predicted and actual; 0 where either is constant
  at::Tensor predicted, actual;  // double [N]: change of the loss by a flip, linearised and true
};

// Flips `num_flips` hard bits of the call one by one, chosen by its stream, and compares the linearised change of the
// loss with that of `loss`, which computes the loss from the gate's output [B,T,C] (of x's dtype and device).
LinearisationStudy study_linearisation(const GateCall& call, int64_t num_flips,
                                       const std::function<double(const at::Tensor& output)>& loss,
                                       HostExecutor& executor);

}  // namespace rosa
