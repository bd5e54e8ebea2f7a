#include "training/experiment/recall_data.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "training/data/sample_keys.h"

namespace rosa::training {
namespace {

// `count` of the numbers 0 ... size-1, in random order.
std::vector<int64_t> draw_distinct(int64_t count, int64_t size, base::RandomStream& random) {
  std::vector<int64_t> numbers(static_cast<size_t>(size));
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < count; ++i) std::swap(numbers[i], numbers[random.between(i, size - 1)]);
  numbers.resize(static_cast<size_t>(count));
  return numbers;
}

}  // namespace

int64_t recall_vocabulary(const ExperimentDataSection& config) { return 1 + 2 * config.num_keys + config.num_values; }

RecallBatch recall_sequences(const ExperimentDataSection& config, uint64_t seed, DataSplit split, int64_t step,
                             int64_t first_sample, int64_t num_samples) {
  const int64_t length = config.length, half = length / 2;
  const auto empty = [&](int64_t width) { return at::zeros({num_samples, width}, at::kLong); };
  RecallBatch batch{empty(length), empty(config.num_queries), empty(config.num_queries), empty(config.num_queries)};
  for (int64_t row = 0; row < num_samples; ++row) {
    base::RandomStream random(sample_key(seed, split, step, first_sample + row));
    auto* tokens = batch.tokens.mutable_data_ptr<int64_t>() + row * length;
    const std::vector<int64_t> keys = draw_distinct(config.num_pairs, config.num_keys, random);
    const std::vector<int64_t> slots = draw_distinct(config.num_pairs, half / 2, random);  // of two tokens
    std::vector<int64_t> values(keys.size());
    for (size_t pair = 0; pair < keys.size(); ++pair) {
      values[pair] = random.between(0, config.num_values - 1);
      tokens[2 * slots[pair]] = 1 + keys[pair];
      tokens[2 * slots[pair] + 1] = 1 + 2 * config.num_keys + values[pair];
    }
    std::vector<int64_t> places = draw_distinct(config.num_queries, length - half, random);
    std::sort(places.begin(), places.end());
    for (int64_t query = 0; query < config.num_queries; ++query) {
      const auto pair = static_cast<size_t>(random.below(keys.size()));
      const int64_t position = half + places[static_cast<size_t>(query)];
      tokens[position] = 1 + config.num_keys + keys[pair];
      const int64_t entry = row * config.num_queries + query;
      batch.positions.mutable_data_ptr<int64_t>()[entry] = position;
      batch.answers.mutable_data_ptr<int64_t>()[entry] = values[pair];
      batch.distances.mutable_data_ptr<int64_t>()[entry] = position - 2 * slots[pair];
    }
  }
  return batch;
}

}  // namespace rosa::training
