// ShiftedSource: a source whose step 0 is a later step of the run, for a stage that begins there.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "training/data/data_source.h"

namespace rosa::training {

class ShiftedSource : public DataSource {
 public:
  // `source` outlives it. Step `first_step` is the source's step 0; earlier ones may not be asked for.
  ShiftedSource(const DataSource& source, int64_t first_step) : source_(source), first_step_(first_step) {}

  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override {
    return source_.batch(step - first_step_, first_sample, num_samples);
  }
  std::optional<int64_t> num_sequences_of_file() const override { return source_.num_sequences_of_file(); }
  Batch sequences_of_file(int64_t first, int64_t num_sequences) const override {
    return source_.sequences_of_file(first, num_sequences);
  }
  int64_t vocabulary_size() const override { return source_.vocabulary_size(); }
  std::optional<TokenizerMark> tokenizer() const override { return source_.tokenizer(); }
  std::optional<double> text_bytes_per_token() const override { return source_.text_bytes_per_token(); }
  std::vector<std::string> source_names() const override { return source_.source_names(); }
  std::vector<double> source_epochs(int64_t num_steps) const override {
    return source_.source_epochs(num_steps - first_step_);
  }
  std::string fingerprint() const override { return source_.fingerprint(); }
  std::string content() const override { return source_.content(); }

 private:
  const DataSource& source_;
  int64_t first_step_;
};

}  // namespace rosa::training
