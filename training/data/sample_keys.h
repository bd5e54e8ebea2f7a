// How sources derive a sample's random numbers and describe themselves; one place, so that no two uses share numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "training/data/data_source.h"

namespace rosa::training {

// The key of a synthetic sample: a function of seed, split, step and global sample.
base::RandomKey sample_key(uint64_t seed, DataSplit split, int64_t step, int64_t sample);

// What a sample's repeated passage is drawn by (RepeatedSource).
base::RandomKey repeat_key(uint64_t seed, int64_t step, int64_t sample);

// The seed of the order of an epoch.
uint64_t order_seed(uint64_t seed, DataSplit split, int64_t stage, int64_t epoch);

// The seed of the order in which a mixture draws its sources in a stage, and of each of its sources.
uint64_t mixture_seed(uint64_t seed, int64_t stage);
uint64_t source_seed(uint64_t seed, int64_t source);

// The stage that `step` belongs to; `stages` ascend and start at step 0. Throws ArgumentError for a negative step.
const DataStage& stage_at(const std::vector<DataStage>& stages, int64_t step);

// Parts of a fingerprint.
std::string describe_stages(const std::vector<DataStage>& stages);
std::string describe_split(DataSplit split, uint64_t seed);

}  // namespace rosa::training
