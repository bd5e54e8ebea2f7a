// The task recall: logits = head(e + adapter(e)), e = embedding(ids), at the questions of recall_data.h. There is no
// attention: what was written reaches a question through ROSA alone.
#pragma once

#include "models/adapter.h"
#include "training/experiment/experiment_task.h"
#include "training/experiment/recall_data.h"

namespace rosa::training {

class RecallTask : public ExperimentTask {
 public:
  RecallTask(const ExperimentConfig& config, const ExperimentArm& arm, uint64_t seed, HostExecutor& executor);

  const NamedTensors& parameters() const override { return parameters_; }
  at::Tensor loss(int64_t step, int64_t first_sample, int64_t num_samples) override;
  TaskScore evaluate(bool zeroed) override;
  void add_results(nlohmann::ordered_json& result) override;

 private:
  at::Tensor logits(const RecallBatch& batch, const OperatorOptions& running,
                    const models::CodeTraining& codes = {}) const;
  RecallBatch held_out() const;

  const ExperimentConfig config_;
  const uint64_t seed_;
  HostExecutor& executor_;
  models::AdapterSet adapters_;
  NamedTensors parameters_;  // the adapter's too
};

}  // namespace rosa::training
