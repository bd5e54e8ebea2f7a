// What two checkpoints of the same step differ in: of a run, and of the same steps done again.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "training/checkpoint.h"

namespace rosa::training {

struct CheckpointDifference {
  std::string entry;   // "state/tensor" or "state/value"
  std::string reason;  // "only the first has it", "has two shapes", "1 of 8 numbers differ, by at most 0.25"
};

struct CheckpointComparison {
  int64_t num_tensors = 0, num_values = 0;  // that were compared
  std::vector<CheckpointDifference> differences;
};

// Compares every tensor and value but those of the states `left_out`. Of tensors that differ it says by how much, where
// they are float32. `names`: what the two are called in reasons.
CheckpointComparison compare_checkpoints(const Checkpoint& first, const Checkpoint& second,
                                         const std::set<std::string>& left_out = {},
                                         const std::array<std::string, 2>& names = {"the first", "the second"});

}  // namespace rosa::training
