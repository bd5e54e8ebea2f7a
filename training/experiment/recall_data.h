// Associative recall over long distances: the first half of a sequence writes pairs of a key and its value, the second
// half asks for keys, in another form of theirs that was never written. Between them stands filler.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "training/data/data_source.h"
#include "training/experiment/experiment_config.h"

namespace rosa::training {

struct RecallBatch {
  at::Tensor tokens;     // int64 [n,T]: 0 filler, then keys as written, keys as asked for, values
  at::Tensor positions;  // int64 [n,Q]: of the questions, ascending
  at::Tensor answers;    // int64 [n,Q]: the value that belongs to the key, from 0
  at::Tensor distances;  // int64 [n,Q]: positions back to where the key was written
};

int64_t recall_vocabulary(const ExperimentDataSection& config);

// Samples [first_sample, first_sample + num_samples) of a step.
RecallBatch recall_sequences(const ExperimentDataSection& config, uint64_t seed, DataSplit split, int64_t step,
                             int64_t first_sample, int64_t num_samples);

}  // namespace rosa::training
