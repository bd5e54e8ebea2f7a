// CropSource: random crops of a text, as bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "training/data/data_source.h"
#include "training/data/text_corpus.h"

namespace rosa::training {

class CropSource : public DataSource {
 public:
  // Throws DataError if the text is shorter than a sequence.
  CropSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const std::filesystem::path& path);

  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;
  int64_t vocabulary_size() const override { return vocabulary_size_; }
  std::string fingerprint() const override;
  std::string content() const override;

 private:
  DataSplit split_;
  uint64_t seed_;
  int64_t vocabulary_size_;
  std::vector<DataStage> stages_;
  TextCorpus corpus_;
};

}  // namespace rosa::training
