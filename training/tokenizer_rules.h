// Whether a run's data was made with the tokenizer of its model: ids of another one are other words.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "text/tokenizer.h"
#include "training/config.h"
#include "training/data/data_source.h"

namespace rosa::training {

class TokenizerRules {
 public:
  // `has_folder`: the model comes from config.model.folder; one of random weights takes any tokenizer.
  // `vocab_size`: of the model.
  TokenizerRules(const RunConfig& config, bool has_folder, int64_t vocab_size);
  ~TokenizerRules();

  // What is wrong with the data's tokenizer, and what to do; empty where nothing is, where nothing is known of it, and
  // where data.accept_other_tokenizer is set. Loads the model's tokenizer if it is needed, once. Throws FileError or
  // DataError where that can't be used.
  std::string trouble_with(const DataSource& data);

 private:
  std::string trouble_with_bytes() const;

  std::string folder_;  // empty: nothing to compare with
  bool has_tokenizer_ = false;
  int64_t vocab_size_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

}  // namespace rosa::training
