// The tasks counting and gate_only: a model around one 1-bit gate predicts the next token of counting_data.h.
//   counting (FastRosa): e = embedding(ids) + rosa_embedding(ROSA over the ids; 0 where nothing matched);
//                        logits = head(e + gate(e))
//   gate_only:           logits = head(gate(embedding(ids)))
#pragma once

#include "training/experiment/experiment_task.h"

namespace rosa::training {

class GateTask : public ExperimentTask {
 public:
  GateTask(const ExperimentConfig& config, const ExperimentArm& arm, uint64_t seed, HostExecutor& executor);

  const NamedTensors& parameters() const override { return parameters_; }
  at::Tensor loss(int64_t step, int64_t first_sample, int64_t num_samples) override;
  TaskScore evaluate(bool zeroed) override;
  GateEstimator* estimator() override { return estimator_.get(); }
  void add_results(nlohmann::ordered_json& result) override;

  // The backward's view of the gate for the first rows of the global batch of `step`, as an estimator gets it; of the
  // mean loss over these rows.
  GateCall gate_call(int64_t step, int64_t num_rows);
  // The mean loss over these rows where the gate's output is another one, [num_rows,T,C]. No gradient.
  double loss_with_gate_output(int64_t step, int64_t num_rows, const at::Tensor& output);

 private:
  struct Inputs {
    at::Tensor ids, targets;  // int64 [B,T]
    at::Tensor retrieved;     // int64 [B,T], -1 for none: ROSA over the ids
  };
  Inputs inputs(DataSplit split, int64_t step, int64_t first_sample, int64_t num_samples) const;
  at::Tensor embed(const Inputs& inputs) const;
  at::Tensor logits(const at::Tensor& embedded, const at::Tensor& gate_output) const;
  at::Tensor parameter(const char* name) const { return parameters_.at(name); }

  const ExperimentConfig config_;
  const bool is_counting_;
  const uint64_t seed_;
  HostExecutor& executor_;
  std::unique_ptr<GateEstimator> estimator_;
  NamedTensors parameters_;
};

}  // namespace rosa::training
