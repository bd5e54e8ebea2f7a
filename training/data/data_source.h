// DataSource: the sequences to train or evaluate on. The global batch of a step is a pure function of (seed, step), so
// resuming needs no state, costs nothing and does not depend on the number of ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "training/data/batch.h"
#include "training/data/data_config.h"
#include "training/data/token_file.h"

namespace rosa::training {

class DataSource {
 public:
  virtual ~DataSource() = default;

  // Samples [first_sample, first_sample + num_samples) of the global batch of `step`. Sequences of one step are equally
  // long. May be called from any thread. Throws DataError for tokens that are out of range.
  virtual Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const = 0;
  // Of a file: the sequences that it makes cut once from end to end, whatever is drawn from it otherwise; the rest that
  // fills none is left out. Nothing where sequences are made of random numbers and never end.
  virtual std::optional<int64_t> num_sequences_of_file() const { return std::nullopt; }
  // Sequences [first, first + num_sequences) of that cut, in an order of the source's own; each stands there once.
  virtual Batch sequences_of_file(int64_t first, int64_t num_sequences) const;
  // Every token id is below it.
  virtual int64_t vocabulary_size() const = 0;
  // Whose ids they are; nothing where that is not known, and where they are no text.
  virtual std::optional<TokenizerMark> tokenizer() const { return std::nullopt; }
  // Bytes of text that a token stands for, on average over the file; nothing where that is not known or no text.
  virtual std::optional<double> text_bytes_per_token() const { return std::nullopt; }
  // Of a mixture: the names of its sources, and how often each of them was gone through in the first `num_steps` steps.
  // Empty where there is one source.
  virtual std::vector<std::string> source_names() const { return {}; }
  virtual std::vector<double> source_epochs(int64_t /*num_steps*/) const { return {}; }
  // Changes when the sequences of any step would, be it by settings or content.
  virtual std::string fingerprint() const = 0;
  // The checksum of the file that the sequences come from, "none" where there is no file: compared on resume, beside
  // the settings. Empty where the run does not use this data.
  virtual std::string content() const = 0;
};

// Stands in the place of data that is not needed, and was not read.
class UnusedData : public DataSource {
 public:
  // `why`: what asks for none, for the error of batch().
  explicit UnusedData(std::string why) : why_(std::move(why)) {}

  // Throws Error.
  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;
  int64_t vocabulary_size() const override { return 0; }
  std::string fingerprint() const override { return why_; }
  std::string content() const override { return ""; }

 private:
  std::string why_;
};

enum class DataSplit {
  train,
  held_out,  // other random numbers and the held-out file, without curriculum and loss weights
};

// `samples_per_step`: sequences of a global batch. With token files the samples of successive steps follow each other
// in the shuffled order of an epoch. An evaluation asks for step 0 alone, for as many samples as it needs.
// Throws ConfigError, and FileError or DataError for a file that can't be used.
std::unique_ptr<DataSource> make_data_source(const DataConfig& config, DataSplit split, uint64_t seed,
                                             int64_t samples_per_step);

// The stages a source of this split goes through (held out: only the last).
std::vector<DataStage> stages_of(const DataConfig& config, DataSplit split);

}  // namespace rosa::training
