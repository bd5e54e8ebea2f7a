// SteinEstimator: leave-one-out with control variates made by a discrete Stein operator, what rodeo and double_cv
// share. The operator turns any function h of a string into one of mean zero (K strings s_k, D bits):
//   (A h)(s) = (1/D) sum over i of w_i [h(s with bit i flipped) - h(s)],  w_i a function of q = P(bit i is not s_i):
//   q for barker, sqrt(q / (1 - q)) for mpf.
// The estimate is the mean over k of
//   [f_k - mean over j != k of (f_j + alpha (A h_j)(s_j))] (s_k - p) + beta (A g_k)(s_k),
//   h_k(s) = D b_k lin_k(s),  g_k(s)_t = D (a'_k + b'_k lin_k(s)) (s_t - p_t),  lin_k(s) = sum of slope_k,i (s_i -
//   p_i),
// Each position has its own a', b, b' and slopes. They may depend on anything but s_k: that keeps the estimate
// unbiased. Since lin is linear, A needs no loop over flips:
//   (A h_k)(s) = b_k L,  (A g_k)(s)_t = b'_k L (s_t - p_t) + w_t (1 - 2 s_t) [a'_k + b'_k (lin_k(s) + slope_t (1 - 2
//   s_t))],  L = sum of w_i slope_i (1 - 2 s_i), which is -lin_k(s) for barker.
// The reward of the mean of both embeddings is subtracted from all rewards. That changes no difference between them.
// In the causal scope of position t, lin and L are sums over i >= t.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "rosa/estimators/sampled_estimator.h"
#include "rosa/estimators/trained_weights.h"

namespace rosa {

// Where slopes come from. none: 0; routes: GateWorker::route_slopes of the other strings; hard_flips: the effects of
// all flips at the hard bits; sample_flips: of those at the other strings.
enum class SlopeSource { none, routes, hard_flips, sample_flips };

// w_i of the operator for a bit that is 1 with the probability.
double stein_weight(SteinOperator stein_operator, double probability, uint8_t bit);

// What the coefficients of one string may depend on; all of its positions.
struct SteinInputs {
  std::span<const double> others;  // mean of the others' rewards
  std::span<const double> hard;    // reward at the hard bits
  std::span<const double> scale;   // size of rewards: root of the sum of their squares
  std::span<const double> slopes;  // empty without slopes
  std::span<const double> probability;
};

class SteinEstimator : public SampledEstimator {
 public:
  double evaluations() const override;
  std::vector<std::pair<std::string, at::Tensor>> parameters() override { return weights_.parameters(); }
  void update(double num_rows) override { weights_.update(num_rows); }
  base::StateDict save_state() const override { return weights_.save_state(); }
  void load_state(const base::StateDict& state) override { weights_.load_state(state); }

 protected:
  // The first two weights are alpha and beta; both start at 0.
  SteinEstimator(const GateEstimatorConfig& config, SteinOperator stein_operator, SlopeSource slopes,
                 TrainedWeights weights);

  // The coefficients b, a' in units of the rewards' scale, and b' of one string: [3, length]. `room` keeps what
  // coefficients_backward wants.
  virtual void coefficients(const float* weights, const SteinInputs& inputs, std::span<float> room,
                            std::span<float> result) const = 0;
  // Adds to `weight_gradient` what the gradient of the coefficients makes.
  virtual void coefficients_backward(const float* weights, std::span<const float> room,
                                     std::span<const float> result_gradient,
                                     std::span<float> weight_gradient) const = 0;
  // Numbers of `room` a position.
  virtual int64_t room_size() const = 0;

  void begin(GateProblem& problem) override;
  void finish() override { weights_.finish(); }
  void draw(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
            const ChannelSamples& samples) const override;
  void evaluated(GateWorker& worker, const ChannelSamples& samples, int64_t sample) const override;
  void add_tracks(const GateProblem& problem, const GateChannel& channel, GateWorker& worker,
                  const ChannelSamples& samples) const override;
  void weigh(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples) override;

 private:
  struct Parts;

  Parts make_parts(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples) const;
  void train(const GateChannel& channel, GateWorker& worker, const ChannelSamples& samples, const Parts& parts);

  SteinOperator stein_operator_;
  SlopeSource slopes_;
  int64_t train_every_;
  uint64_t first_sample_ = 0, step_ = 0;  // of the call
  TrainedWeights weights_;
};

}  // namespace rosa
