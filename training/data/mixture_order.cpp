#include "training/data/mixture_order.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"

namespace rosa::training {
namespace {

constexpr uint64_t kOne = uint64_t{1} << 32;       // the share of all sources together
constexpr int kShareBits = 20;                     // kOne / kBlock = 2^20
constexpr uint64_t kMixtureOrder = 0xda7a0005;     // the "layer" of the random numbers
constexpr int64_t kMaxSamples = int64_t{1} << 60;  // products below then fit 64 bits

static_assert(kOne == static_cast<uint64_t>(MixtureOrder::kBlock) << kShareBits);

}  // namespace

MixtureOrder::MixtureOrder(const std::vector<double>& weights, uint64_t seed) : seed_(seed), bounds_{0} {
  base::require(!weights.empty(), "MixtureOrder: there are no weights");
  double total = 0, sum = 0;
  for (const double weight : weights) {
    base::require<base::ConfigError>(std::isfinite(weight) && weight > 0, "the weight of a source is ", weight,
                                     ", expected a finite number above 0");
    total += weight;
  }
  for (size_t source = 0; source < weights.size(); ++source) {
    sum += weights[source];
    const bool is_last = source + 1 == weights.size();
    bounds_.push_back(is_last ? kOne : static_cast<uint64_t>(std::llround(sum / total * static_cast<double>(kOne))));
    base::require<base::ConfigError>(bounds_.back() >= bounds_[source] + kOne / kBlock, "source ", source,
                                     " has a share of ", weights[source] / total, ", expected at least one in ",
                                     kBlock);
  }
}

// floor(block * kBlock * bound / kOne). Of a share of at least one in kBlock, differences between successive blocks are
// never negative, whatever the rounding.
int64_t MixtureOrder::before(int64_t block, size_t source) const {
  const auto number = static_cast<uint64_t>(block);
  const uint64_t high = number >> kShareBits, low = number & ((uint64_t{1} << kShareBits) - 1);
  return static_cast<int64_t>(high * bounds_[source] + (low * bounds_[source] >> kShareBits));
}

int64_t MixtureOrder::place(int64_t block, int64_t position) const {
  const uint64_t seed =
      base::random_bits({.seed = seed_, .step = static_cast<uint64_t>(block), .layer = kMixtureOrder});
  return static_cast<int64_t>(base::FeistelPermutation(kBlock, seed)(static_cast<uint64_t>(position)));
}

// Places of a block belong to the sources in order.
size_t MixtureOrder::source_at(int64_t block, int64_t place) const {
  size_t source = 0;
  while (place >= before(block + 1, source + 1) - before(block, source + 1)) ++source;
  return source;
}

MixtureOrder::Draw MixtureOrder::draw(int64_t sample) const {
  base::require(sample >= 0 && sample < kMaxSamples, "MixtureOrder: got sample ", sample);
  const int64_t block = sample / kBlock, at = place(block, sample % kBlock);
  const size_t source = source_at(block, at);
  const int64_t first = before(block + 1, source) - before(block, source);  // the source's first place
  const int64_t given = before(block, source + 1) - before(block, source);
  return {static_cast<int64_t>(source), given + at - first};
}

std::vector<int64_t> MixtureOrder::counts(int64_t num_samples) const {
  base::require(num_samples >= 0 && num_samples < kMaxSamples, "MixtureOrder: got ", num_samples, " samples");
  const int64_t block = num_samples / kBlock;
  std::vector<int64_t> counts;
  for (size_t source = 0; source + 1 < bounds_.size(); ++source) {
    counts.push_back(before(block, source + 1) - before(block, source));
  }
  for (int64_t position = 0; position < num_samples % kBlock; ++position) {
    ++counts[source_at(block, place(block, position))];
  }
  return counts;
}

}  // namespace rosa::training
