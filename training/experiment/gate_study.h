// What is measured of the gate's gradients during training: variance and bias of every arm against an unbiased
// reference, at the weights of one run; and how well the linearised effect of a flip tells the true one.
#pragma once

#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "training/experiment/gate_task.h"

namespace rosa::training {

// Lines of studies.jsonl, the arms shared out over the ranks; equal on every rank. Collective: every rank calls it.
std::string study_gradients(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms, GateTask& task,
                            int64_t step, parallel::Communicator& communicator, HostExecutor& executor);

}  // namespace rosa::training
