// GateEstimator: how the 1-bit gate's logits get a gradient, although their bits have none. One interface for all
// estimators, their configuration, and the registry that makes one by its name. The formulas are in
// docs/estimators.md; the gate's forward is rosa/operator/one_bit_gate.h, its autograd function estimated_gate.h.
//
// All estimate the gradient of E[f(s)]. Let p = sigmoid(x / temperature), clamped to [1e-4, 1 - 1e-4], and s a string
// of independent bits with P(s_t = 1) = p_t. f(s) = sum over t of grad_output_t out_t(s) is the loss to first order
// around the hard forward. Where p is clamped its derivative would be 0; p (1 - p) of the clamped p takes its place, so
// that a saturated bit keeps a small gradient.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/fields.h"
#include "base/stateful.h"
#include "rosa/operator/host_executor.h"

namespace rosa {

// Which part of the reward a sampled estimator credits a bit with; all unbiased. joint: of its sequence, all positions
// and channels; channel: of its channel (channels are independent given grad_output); causal: of its channel from its
// position on (a bit cannot change earlier outputs).
enum class RewardScope { joint, channel, causal };

// The slopes of rodeo's control variates. none: there are none. routes: what the rows that retrieved a bit in the other
// strings would gain; that costs nothing. flips: what each single flip does at the hard bits, all flips once a call.
enum class RodeoSlopes { none, routes, flips };
// The discrete Stein operator: Gibbs with Barker's weights, or the weights of minimum probability flow.
enum class SteinOperator { barker, mpf };

struct RodeoConfig {
  SteinOperator stein_operator = SteinOperator::barker;
  RodeoSlopes slopes = RodeoSlopes::routes;
  int64_t hidden_width = 8;
  int64_t train_every = 4;  // of that many channels' strings, one trains (double_cv's too)
};

void describe(base::FieldVisitor& visitor, RodeoConfig& config);

struct GateEstimatorConfig {
  std::string name = "disarm";              // gate_estimator_names()
  RewardScope scope = RewardScope::causal;  // of the sampled ones: disarm, rloo, arms, rodeo, double_cv
  int64_t num_samples = 2;                  // strings drawn a call; disarm and antithetic leg draw pairs of them
  bool antithetic = true;                   // leg: whether samples come in antithetic pairs
  double temperature = 0.2;                 // p = sigmoid(x / temperature)
  std::string compatible = "none";          // fastrosa: disarm without its factor max(p, 1 - p), as FastRosa has it
  double learning_rate = 1e-2;              // of what estimators learn themselves (rodeo, double_cv)
  RodeoConfig rodeo;
};

void describe(base::FieldVisitor& visitor, GateEstimatorConfig& config);

// What the random numbers of a call belong to: a draw is a function of these, the row, channel and position, so that
// neither threads nor the split of a global batch over ranks matter.
struct GateStream {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t first_sample = 0;  // index in the global batch of the call's first row
  uint64_t layer = 0;         // or any other number that tells gates apart
};

struct GateCall {
  at::Tensor x;            // [B,T,C] floating point, T at most kernels::kMaxChannelLength
  at::Tensor index;        // int64 [B,T,C]: the hard forward's, OneBitGateOutput::index
  at::Tensor emb0, emb1;   // C elements
  at::Tensor grad_output;  // [B,T,C]
  GateStream stream;
  // Undefined, or [S,B,T,C]: uniform numbers to use instead of the stream's, one a sampled string or pair (tests).
  at::Tensor uniforms;
};

class GateEstimator : public base::Stateful {
 public:
  // Operator evaluations that one call costs; an evaluation of all single flips counts as kFlipEvaluations.
  virtual double evaluations() const = 0;

  // d loss / d x, [B,T,C] of x's dtype and device. Runs on the executor's threads; the result does not depend on their
  // number. Throws ArgumentError where the call's shapes do not fit. Not to be called from two threads at once.
  virtual at::Tensor gradient(const GateCall& call, HostExecutor& executor) = 0;

  // Trainable state of its own (float32, on the CPU). gradient() adds to their .grad the sum over the rows of its call;
  // callers sum that over ranks and then call update() everywhere.
  virtual std::vector<std::pair<std::string, at::Tensor>> parameters() { return {}; }
  // One step of Adam with the gradients divided by `num_rows`, the rows of the global batch since the last one, then
  // sets them to zero.
  virtual void update(double num_rows);

  // Empty where there is no trainable state.
  base::StateDict save_state() const override { return {}; }
  void load_state(const base::StateDict& state) override;
};

// What the flips of all positions cost, in forwards of random bits at T = 128 (bench/results).
inline constexpr double kFlipEvaluations = 10;

// Throws ConfigError for an unknown name, listing the names, and for options that do not fit the estimator.
std::unique_ptr<GateEstimator> make_gate_estimator(const GateEstimatorConfig& config);

// All names, in the order of the documentation.
std::vector<std::string> gate_estimator_names();

}  // namespace rosa
