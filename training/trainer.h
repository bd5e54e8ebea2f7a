// Trainer: one rank's share of training steps and evaluations. Owns the optimiser and the reducer of a step, not the
// run folder (run.h) and not what it is told to train.
#pragma once

#include <ATen/ATen.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/stateful.h"
#include "models/adapter.h"
#include "models/causal_model.h"
#include "parallel/communicator.h"
#include "rosa/operator/host_executor.h"
#include "training/alignment.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/evaluation.h"
#include "training/losses.h"
#include "training/metrics.h"
#include "training/optimizer.h"
#include "training/step_engine.h"
#include "training/step_guard.h"
#include "training/weight_state.h"

namespace rosa::training {

// The scheduled quantities of one step.
struct StepSettings {
  double learning_rate = 0.0, alpha = 1.0, bits_tau = 1.0, attn_tau = 1.0;
};
StepSettings step_settings(const SchedulesSection& schedules, int64_t step, int64_t num_steps);

// Where the steps of a trainer are in its run: of a run without stages, all of it.
struct StepSpan {
  std::string stage = {};        // for metrics
  int64_t first_step = 0;        // of the run; schedules count from it
  int64_t num_steps_of_run = 0;  // 0: as many as the configuration has
};

class Trainer {
 public:
  // Broadcasts the trained weights from rank 0. Collective: every rank calls it. Throws ConfigError where
  // train.micro_batches does not divide over the ranks or patterns select nothing, and what check_held_out_data does
  // where the run evaluates.
  Trainer(const RunConfig& config, RunParts parts, StepSpan span = {});
  ~Trainer();

  // Step `step` of the run (from 0): forward, backward, reduce, clip, update. Whether the weights are updated is the
  // step guard's decision, alike on every rank. Collective: every rank calls it. Throws NumericError where the guard
  // does.
  StepMetrics step(int64_t step);

  // Cross-entropy of the student with the hard operator on held-out sequences. Collective: every rank calls it.
  EvaluationMetrics evaluate(int64_t num_steps_done);

  const NamedTensors& trained() const { return trained_; }

  // Memory of the optimiser's state on this rank.
  int64_t optimizer_bytes() const { return engine_->optimizer().state_bytes(); }

  StepGuard& step_guard() { return step_guard_; }

  // Throws NumericError on every rank where a weight on any rank is not finite. Collective: every rank calls it.
  void require_finite_weights() const;

  // Weights and moments from now on load from checkpoints with other tensors too; rank 0 logs what is dropped and what
  // starts anew.
  void accept_other_tensors();

  // What a checkpoint must hold, by name.
  std::map<std::string, base::Stateful*> state();

 private:
  // Means over the global batch, from every micro-batch's float64 sums in order.
  struct GlobalLoss {
    double loss = 0.0, kl = 0.0, ce = 0.0, alignment = 0.0;
    models::CodeLosses codes;
  };

  std::vector<LayerMetrics> layer_metrics();
  StepMetrics begin_step(int64_t step);
  void end_step(StepMetrics& metrics, int64_t sequence_length) const;
  double flops_per_token(int64_t sequence_length) const;
  std::vector<Batch> load_micro_batches(int64_t step) const;
  models::CodeTraining code_training(int64_t step, int64_t micro_batch) const;
  Loss micro_batch_loss(const Batch& batch, const StepSettings& settings, const LossSums& counts,
                        const models::CodeTraining& codes);
  LossInput loss_input(const Batch& batch, Alignment* alignment) const;
  std::vector<SourceMetrics> source_metrics(int64_t step, const std::vector<Batch>& batches,
                                            const std::vector<std::vector<LossSums>>& sequences);
  LossSums global_counts(const std::vector<Batch>& batches);
  models::ForwardOptions training_options(const Batch& batch, const StepSettings& settings);
  GlobalLoss global_loss(const std::vector<LossSums>& sums, const std::vector<std::vector<double>>& codes,
                         const LossSums& counts);
  std::string blame(const std::vector<LossSums>& sums) const;
  LossSums sum_over_micro_batches(const std::vector<LossSums>& own);

  int64_t num_steps_of_run() const;

  RunConfig config_;
  RunParts parts_;
  StepSpan span_;
  NamedTensors trained_;
  std::unique_ptr<StepEngine> engine_;
  StepGuard step_guard_;
  std::unique_ptr<WeightState> weights_;
  std::unique_ptr<WeightState> base_weights_;  // trained beside adapters; null: none
  std::unique_ptr<WeightState> lora_weights_;  // the same
  // Of the step under way.
  std::chrono::steady_clock::time_point step_start_;
  double waited_before_ms_ = 0.0;
  bool is_logged_ = false;  // its line shows more than others'
  models::GateStatistics gate_statistics_;
};

}  // namespace rosa::training
