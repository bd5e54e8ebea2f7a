// StateTensors: the tensors of a saved state against those of the run that loads it, by name and shape.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <string>
#include <vector>

#include "base/stateful.h"

namespace rosa::training {

// A tensor as a run has it: what load_state fills.
struct ExpectedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

// Throws CheckpointError, naming them, where the state has tensors that the run lacks, or the reverse, and where a
// shape differs. `on_difference`: where set, names may differ, and it is told; shapes never may.
void compare_tensors(const base::StateDict& state, const std::vector<ExpectedTensor>& expected,
                     const std::function<void(const std::string&)>& on_difference);

}  // namespace rosa::training
