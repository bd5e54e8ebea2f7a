// MixtureOrder: which of several sources each sample of a run comes from, and which of that source's. Nothing is drawn
// and remembered: both are pure functions of the sample's number, so that resuming needs no state.
//
// Samples are cut into blocks. Of each block a source gets its share, to the nearest sample over the whole run, and a
// seeded permutation says at which places of the block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rosa::training {

class MixtureOrder {
 public:
  static constexpr int64_t kBlock = 4096;

  struct Draw {
    int64_t source = 0;
    int64_t index = 0;  // the source gave so many samples before; each index comes once
  };

  // Weights are above 0 and finite, in any unit. A source has at least one sample of each block: throws ConfigError for
  // a share below 1 / kBlock, naming its number.
  MixtureOrder(const std::vector<double>& weights, uint64_t seed);

  // The samples of a run are numbered from 0.
  Draw draw(int64_t sample) const;

  // How many of the first `num_samples` samples each source gives.
  std::vector<int64_t> counts(int64_t num_samples) const;

 private:
  // Of the samples before `block`, those of sources 0 to `source` - 1.
  int64_t before(int64_t block, size_t source) const;
  int64_t place(int64_t block, int64_t position) const;
  size_t source_at(int64_t block, int64_t place) const;

  uint64_t seed_;
  std::vector<uint64_t> bounds_;  // shares of sources 0 to s - 1 in units of 2^-32; one more than sources
};

}  // namespace rosa::training
