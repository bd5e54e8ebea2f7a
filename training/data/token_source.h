// TokenSource: the sequences of a token file, shuffled anew in every epoch by a permutation that is O(1) to seek.
// Packed: the file is cut every sequence_length tokens, whatever the documents (the rest at its end is left out).
// Not packed: each document is cut, and its last piece padded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "training/data/data_source.h"
#include "training/data/token_file.h"

namespace rosa::training {

class TokenSource : public DataSource {
 public:
  // Throws DataError if the file is damaged, larger in its vocabulary than data.vocabulary_size, or shorter than a
  // packed sequence.
  TokenSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const std::filesystem::path& path,
              int64_t samples_per_step);

  // Labels are -100 where the predicting token lies in another document, where the file's loss mask leaves the token
  // out, and at padding. `documents` is defined where sequences are packed, `padding` where they are not, `loss_mask`
  // where the file has a mask.
  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;
  // `num_samples` of a stage from `first` on, which counts from the stage's first step.
  Batch samples(const DataStage& stage, int64_t first, int64_t num_samples) const;
  std::optional<int64_t> num_sequences_of_file() const override { return cuts_.back().num_sequences; }
  Batch sequences_of_file(int64_t first, int64_t num_sequences) const override;
  int64_t vocabulary_size() const override { return file_.vocabulary_size(); }
  std::optional<double> text_bytes_per_token() const override;
  std::optional<TokenizerMark> tokenizer() const override { return file_.facts().tokenizer; }
  std::string fingerprint() const override;
  std::string content() const override;

  // Sequences of an epoch at `step`.
  int64_t num_sequences(int64_t step) const;

 private:
  struct Cut {
    int64_t num_sequences = 0;
    std::vector<int64_t> first_sequence;  // of each document; empty if packed
  };
  struct Piece {
    int64_t first = 0, num_tokens = 0;
  };

  Cut cut(int64_t sequence_length) const;
  Piece piece(const DataStage& stage, int64_t sample) const;
  void fill_documents(const Piece& piece, int64_t* documents, int64_t* labels) const;
  void apply_loss_mask(const Piece& piece, bool* mask, int64_t* labels) const;

  TokenFile file_;
  DataSplit split_;
  uint64_t seed_;
  int64_t samples_per_step_;
  bool packed_;
  std::vector<DataStage> stages_;
  std::vector<Cut> cuts_;  // by stage
};

}  // namespace rosa::training
