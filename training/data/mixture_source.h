// MixtureSource: several token files, of which each gives its share of the samples. Each file's sequences come in the
// shuffled order of its own epochs, none of them twice in one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "training/data/data_source.h"
#include "training/data/mixture_order.h"
#include "training/data/token_source.h"

namespace rosa::training {

class MixtureSource : public DataSource {
 public:
  // Of resolved.sources. Throws what TokenSource does, and DataError where files were packed with different tokenizers
  // (unless data.accept_other_tokenizer is set).
  MixtureSource(const DataConfig& resolved, uint64_t seed, int64_t samples_per_step);

  // As TokenSource, with `sources`.
  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;
  int64_t vocabulary_size() const override;
  std::optional<TokenizerMark> tokenizer() const override;
  std::string fingerprint() const override;
  std::string content() const override;
  std::vector<std::string> source_names() const override { return names_; }
  std::vector<double> source_epochs(int64_t num_steps) const override;

 private:
  void require_one_tokenizer() const;
  // The order of a stage, which counts its samples from its first step.
  const MixtureOrder& order(const DataStage& stage) const { return orders_[static_cast<size_t>(stage.index)]; }

  int64_t samples_per_step_;
  uint64_t seed_;
  std::vector<DataStage> stages_;
  std::vector<std::string> names_, paths_;
  std::vector<double> weights_;
  std::vector<std::unique_ptr<TokenSource>> sources_;
  std::vector<MixtureOrder> orders_;  // by stage
};

}  // namespace rosa::training
