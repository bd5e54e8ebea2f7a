// ExperimentTask: a small model with one ROSA in it, the data it learns, and how it is scored. Knows nothing of steps'
// bookkeeping, ranks or files (experiment_run.h).
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "rosa/estimators/gate_estimator.h"
#include "rosa/operator/host_executor.h"
#include "training/experiment/experiment_config.h"
#include "training/optimizer.h"

namespace rosa::training {

// On held-out sequences, with the hard operator.
struct TaskScore {
  double loss = 0.0;      // nats a predicted token
  double accuracy = 0.0;  // share of predicted tokens whose likeliest is right
};

class ExperimentTask {
 public:
  virtual ~ExperimentTask() = default;

  // Float32 leaves that require a gradient; a function of the seed alone, whatever the arm.
  virtual const NamedTensors& parameters() const = 0;

  // The share of the loss that samples [first_sample, first_sample + num_samples) of the global batch of `step` have:
  // the sum over their predicted tokens, divided by the predicted tokens of the whole batch. Its backward may run once.
  virtual at::Tensor loss(int64_t step, int64_t first_sample, int64_t num_samples) = 0;

  // `zeroed`: ROSA's output (the gate's, the adapter's operator's) forced to zero.
  virtual TaskScore evaluate(bool zeroed) = 0;

  // The gate's, which may have trainable state; null where there is none.
  virtual GateEstimator* estimator() { return nullptr; }

  // What result.json holds of this task besides scores.
  virtual void add_results(nlohmann::ordered_json& result) = 0;
};

// Executor outlives the task.
std::unique_ptr<ExperimentTask> make_experiment_task(const ExperimentConfig& config, const ExperimentArm& arm,
                                                     uint64_t seed, HostExecutor& executor);

}  // namespace rosa::training
