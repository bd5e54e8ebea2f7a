// Sequences that repeat a pool of phrases in random order: nothing helps to predict them but recalling the earlier
// copy, at any distance. `phrases` (random symbols) and `lines` (words of a text) differ only in the pool.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/random.h"
#include "training/data/data_source.h"
#include "training/data/text_corpus.h"

namespace rosa::training {

// A phrase ends with the separator, which occurs nowhere else in it.
using Phrase = std::vector<int64_t>;

struct PhraseSequence {
  std::vector<int64_t> tokens;
  std::vector<bool> recallable;
};

// Lays phrases one after the other until `length` tokens are full, each time drawing uniformly from the pool without
// the last `num_excluded` (at most all but one) phrases. The pool's phrases are distinct.
//
// The recallable mask. A phrase is "known" at a token if it stood completely, separator included, before the current
// phrase began, and "possible" if it is not among the last `num_excluded`. Token t, at place j >= 1 of its phrase
// (place 0 is the first symbol after the separator), is recallable if its phrase is known and the only one of the known
// and possible phrases that begins with the j symbols that stand before t in this phrase. A first symbol (j = 0) never
// is; the separator that ends a recallable phrase is.
PhraseSequence repeat_phrases(const std::vector<Phrase>& pool, int64_t length, int64_t num_excluded,
                              base::RandomStream& random);

// What both kinds share. A sequence is a function of (seed, split, step, sample).
class PhraseSource : public DataSource {
 public:
  PhraseSource(const DataConfig& resolved, DataSplit split, uint64_t seed);
  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override;
  int64_t vocabulary_size() const override { return config_.vocabulary_size; }
  std::string fingerprint() const override;
  std::string content() const override { return "none"; }

 protected:
  // One more phrase, with its separator.
  virtual Phrase draw_phrase(base::RandomStream& random) const = 0;

  DataConfig config_;

 private:
  std::vector<Phrase> draw_pool(int64_t size, base::RandomStream& random) const;

  DataSplit split_;
  uint64_t seed_;
  std::vector<DataStage> stages_;
};

// Symbols 1 ... alphabet_size, separator 0.
class RandomPhraseSource : public PhraseSource {
 public:
  using PhraseSource::PhraseSource;

 protected:
  Phrase draw_phrase(base::RandomStream& random) const override;
};

// Whole words of a text as bytes, separator newline.
class LineSource : public PhraseSource {
 public:
  LineSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const std::filesystem::path& path);
  std::optional<TokenizerMark> tokenizer() const override { return mark_of_bytes(); }
  std::string fingerprint() const override;
  std::string content() const override;

 protected:
  Phrase draw_phrase(base::RandomStream& random) const override;

 private:
  LineSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const TextCorpus& corpus);

  uint64_t text_checksum_;
  WordText words_;
};

}  // namespace rosa::training
