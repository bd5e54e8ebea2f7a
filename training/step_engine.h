// StepEngine: what a step of training has whatever its loss is. Gradients are summed over micro-batches and ranks and
// clipped, and AdamW updates the weights. What the loss is, and whether the weights are to be updated, the owner knows.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/gradient_reducer.h"
#include "parallel/reduction_config.h"
#include "training/optimizer.h"

namespace rosa::training {

class StepEngine {
 public:
  // `trained` are float32 and outlive it, as does the communicator. `placement`: see GradientReducer. Collective: every
  // rank calls it. Throws ConfigError for weights of another dtype.
  StepEngine(parallel::Communicator& communicator, const parallel::ParallelConfig& parallel,
             const OptimizerConfig& optimizer, const NamedTensors& trained, int64_t num_micro_batches,
             const std::vector<std::size_t>& placement);

  // This rank's run [first, end) of micro-batches.
  std::pair<int64_t, int64_t> owned() const { return reducer_.owned(); }

  // A step: begin(); backward() of each of this rank's micro-batches, in order; reduce(); and update() or not.
  void begin() { communication_ms_ = 0.0; }
  void backward(const at::Tensor& loss);
  // Sums the gradients over all micro-batches and takes their norm. Collective: every rank calls it.
  void reduce();
  // Global norm before clipping, of the last reduce().
  double gradient_norm() const { return norm_; }
  // Clips, and updates the weights. Collective with a sharded optimiser.
  void update(double learning_rate);

  // The sum over all micro-batches of all ranks of some numbers of each, with the same bits for any number of ranks;
  // `own`: of this rank's. Collective: every rank calls it.
  std::vector<double> sum(const std::vector<std::vector<double>>& own);

  // Names of trained tensors whose gradient in this rank's part is not finite.
  std::vector<std::string> not_finite() const;

  AdamW& optimizer() { return optimizer_; }
  const AdamW& optimizer() const { return optimizer_; }
  // Of the gradients of the last step; and the time in which this step only waited for collectives.
  const parallel::ReductionTimes& reduction_times() const { return reducer_.times(); }
  double communication_ms() const { return communication_ms_; }

 private:
  parallel::Communicator& communicator_;
  const int64_t num_micro_batches_;
  const double clip_;
  const bool is_sharded_;
  std::vector<std::string> names_;
  parallel::GradientReducer reducer_;
  AdamW optimizer_;
  at::Tensor gradient_;  // of the last reduce(), flat
  double norm_ = 0.0;
  double communication_ms_ = 0.0;
};

}  // namespace rosa::training
