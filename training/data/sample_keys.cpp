#include "training/data/sample_keys.h"

#include "base/error.h"

namespace rosa::training {
namespace {

// "layer" of the keys: other users of the same seed (weights, estimators) count layers from 0.
constexpr uint64_t kTrainSamples = 0xda7a0001, kHeldOutSamples = 0xda7a0002;
constexpr uint64_t kTrainOrder = 0xda7a0003, kHeldOutOrder = 0xda7a0004;
constexpr uint64_t kRepeats = 0xda7a0008;
constexpr uint64_t kMixture = 0xda7a0006, kMixedSource = 0xda7a0007;

}  // namespace

base::RandomKey sample_key(uint64_t seed, DataSplit split, int64_t step, int64_t sample) {
  return {.seed = seed,
          .step = static_cast<uint64_t>(step),
          .sample = static_cast<uint64_t>(sample),
          .layer = split == DataSplit::train ? kTrainSamples : kHeldOutSamples};
}

base::RandomKey repeat_key(uint64_t seed, int64_t step, int64_t sample) {
  return {
      .seed = seed, .step = static_cast<uint64_t>(step), .sample = static_cast<uint64_t>(sample), .layer = kRepeats};
}

uint64_t order_seed(uint64_t seed, DataSplit split, int64_t stage, int64_t epoch) {
  return base::random_bits({.seed = seed,
                            .step = static_cast<uint64_t>(epoch),
                            .sample = static_cast<uint64_t>(stage),
                            .layer = split == DataSplit::train ? kTrainOrder : kHeldOutOrder});
}

uint64_t mixture_seed(uint64_t seed, int64_t stage) {
  return base::random_bits({.seed = seed, .sample = static_cast<uint64_t>(stage), .layer = kMixture});
}

uint64_t source_seed(uint64_t seed, int64_t source) {
  return base::random_bits({.seed = seed, .sample = static_cast<uint64_t>(source), .layer = kMixedSource});
}

const DataStage& stage_at(const std::vector<DataStage>& stages, int64_t step) {
  base::require(step >= 0, "DataSource::batch: got step ", step, ", expected 0 or more");
  size_t last = 0;
  while (last + 1 < stages.size() && stages[last + 1].first_step <= step) ++last;
  return stages[last];
}

std::string describe_stages(const std::vector<DataStage>& stages) {
  std::string text = "stages=";
  for (const DataStage& stage : stages) {
    text += base::concat("[", stage.first_step, ":", stage.sequence_length, ",", stage.pool_size, ",",
                         stage.unrecallable_weight, "]");
  }
  return text;
}

std::string describe_split(DataSplit split, uint64_t seed) {
  return base::concat("split=", split == DataSplit::train ? "train" : "held_out", " seed=", seed);
}

}  // namespace rosa::training
