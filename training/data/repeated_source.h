// RepeatedSource: the sequences of another source, in some of which a passage is written again further on, over what
// stood there, so that there is something to recall at any distance.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "training/data/data_config.h"
#include "training/data/shifted_source.h"

namespace rosa::training {

class RepeatedSource : public ShiftedSource {
 public:
  // `config` is resolved: repeat_share, repeat_min_tokens and repeat_max_tokens.
  RepeatedSource(std::unique_ptr<DataSource> source, const DataConfig& config, uint64_t seed);

  // A share of the sequences has one passage twice, within one document; the distance is uniform in its logarithm. A
  // function of seed, step and sample. Labels that do not count stay as they are.
  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;
  std::string fingerprint() const override;

 private:
  // Tokens first .. first + count - 1 come again at `again`; no count: the sequence stays as it is.
  struct Passage {
    int64_t first = 0, again = 0, count = 0;
  };
  Passage draw(int64_t step, int64_t sample, const int64_t* documents, const bool* padding, int64_t length) const;

  std::unique_ptr<DataSource> source_;
  double share_;
  int64_t min_tokens_, max_tokens_;
  uint64_t seed_;
};

}  // namespace rosa::training
