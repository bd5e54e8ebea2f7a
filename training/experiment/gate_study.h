// What is measured of the gate's gradients during training: variance and bias of every arm against an unbiased
// reference, at the weights of one run; and how well the linearised effect of a flip tells the true one.
#pragma once

#include <string>
#include <vector>

#include "training/experiment/gate_task.h"

namespace rosa::training {

// Lines of studies.jsonl: one of kind "variance" for each arm, and for each of study.num_samples of the sampled arms;
// one of kind "linearisation". Estimators with weights of their own learn first, from study.reference_draws draws of
// the same call.
std::string study_gradients(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms, GateTask& task,
                            int64_t step, HostExecutor& executor);

}  // namespace rosa::training
