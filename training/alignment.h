// The alignment loss: what the student's layers give against what the teacher's give, layer by layer (loss.alignment).
// A layer is fed what the teacher's layer gets, so that no error travels and each learns apart, or what it gets in the
// student itself.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "base/config_problems.h"
#include "models/causal_model.h"
#include "training/config.h"
#include "training/losses.h"

namespace rosa::training {

// What the loss needs of the model, and of a teacher of its own.
void check_alignment(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model);
// Whether anything that is trained has a part in it; patterns and adapters are good.
void check_alignment_learns(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model);
void check_alignment_with(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model,
                          const models::ModelConfig& teacher);

// The weight of each layer in the loss, their sum 1. One entry more than the model has layers: the last is of the final
// norm's output, with the adapter before it. `config.adapter` names layers as configured; without
// loss.alignment_layers those with an adapter count alike.
std::vector<double> alignment_weights(const RunConfig& config, int64_t num_layers);

// The loss of one micro-batch: the teacher runs first, then the student with what watch() or feed() puts into its
// options, then loss().
class Alignment {
 public:
  // `model`: of the student; all outlive it.
  Alignment(const RunConfig& config, const models::CausalModel& model, const models::CausalModel& teacher);

  // Runs the teacher without a gradient and keeps what its layers get and give. input_ids int64 [B,T]; documents and
  // sequence_chunk as in ForwardOptions. Returns its hidden states after the final norm.
  at::Tensor run_teacher(const at::Tensor& input_ids, const at::Tensor& documents, int64_t sequence_chunk);

  // For the student's forward: each layer is compared, on its own input; with feed() on the teacher's. This object
  // outlives the forward.
  void watch(models::ForwardOptions& options);
  void feed(models::ForwardOptions& options);

  // Adds the loss to that of the micro-batch: its value times loss.alignment, and the sums. `padding` bool [B,T] or
  // undefined: positions that do not count. `global_count`: positions of the whole global batch that do.
  void add_to(Loss& loss, const at::Tensor& padding, double global_count);

 private:
  void compare(int64_t place, const at::Tensor& of_student);
  bool counts(int64_t place) const { return weights_[static_cast<size_t>(place)] > 0.0; }

  const LossConfig& config_;
  const models::CausalModel& model_;
  const models::CausalModel& teacher_;
  std::vector<double> weights_;
  std::vector<at::Tensor> inputs_, targets_;  // of the teacher's layers; undefined where not needed
  at::Tensor per_token_;                      // float [B,T]: the sum over layers, weighted
};

}  // namespace rosa::training
