// CropSource: random crops of a text, as bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
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
  std::optional<int64_t> num_sequences_of_file() const override;
  Batch sequences_of_file(int64_t first, int64_t num_sequences) const override;
  int64_t vocabulary_size() const override { return vocabulary_size_; }
  std::optional<double> text_bytes_per_token() const override { return 1.0; }
  std::optional<TokenizerMark> tokenizer() const override { return mark_of_bytes(); }
  std::string fingerprint() const override;
  std::string content() const override;

 private:
  // Bytes [starts[i], starts[i] + length) of the text.
  Batch crops(const std::vector<size_t>& starts, int64_t length) const;

  DataSplit split_;
  uint64_t seed_;
  int64_t vocabulary_size_;
  std::vector<DataStage> stages_;
  TextCorpus corpus_;
};

}  // namespace rosa::training
