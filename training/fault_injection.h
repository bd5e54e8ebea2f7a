// Faults on purpose, for tests of what happens when a rank fails: read from the environment variable ROSA_FAULT, in
// whose absence nothing here does anything. Described in docs/testing.md.
//
//   ROSA_FAULT="do=stop rank=1 step=3 phase=backward"      several faults: separated by ;
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "rosa/operator/host_executor.h"

namespace rosa::training {

// Reads ROSA_FAULT and keeps the faults of this rank; those that happen at the beginning of a phase are hooked in
// (base/activity.h). Throws ConfigError where it can't be understood.
void install_faults_of_environment(int rank);

// Hooks the fault automaton_loop, if there is one, into the matching threads.
void install_automaton_fault(HostExecutor& executor);

// Whether the fault `action` (nan_loss, nan_gradient, spike, corrupt_weight, automaton_loop) is to happen at `step` on
// this rank; true once for each fault, or at every step from its first one on (step=3-).
bool fault_is_due(std::string_view action, int64_t step);

// The fault corrupt_weight: one weight of the first tensor is another one.
void inject_weight_fault(const std::map<std::string, at::Tensor>& weights, int64_t step);

}  // namespace rosa::training
