#include "training/data/phrase_source.h"

#include <algorithm>
#include <deque>

#include "base/checksum.h"
#include "base/error.h"
#include "training/data/sample_keys.h"

namespace rosa::training {

PhraseSequence repeat_phrases(const std::vector<Phrase>& pool, int64_t length, int64_t num_excluded,
                              base::RandomStream& random) {
  const size_t num_phrases = pool.size();
  base::require(num_phrases >= 1, "repeat_phrases: the pool is empty");
  const size_t max_recent = std::min(static_cast<size_t>(num_excluded), num_phrases - 1);
  PhraseSequence sequence;
  std::vector<bool> known(num_phrases, false);
  std::deque<size_t> recent;
  std::vector<size_t> possible, candidates;
  while (static_cast<int64_t>(sequence.tokens.size()) < length) {
    possible.clear();
    candidates.clear();
    for (size_t phrase = 0; phrase < num_phrases; ++phrase) {
      if (std::find(recent.begin(), recent.end(), phrase) != recent.end()) continue;
      possible.push_back(phrase);
      if (known[phrase]) candidates.push_back(phrase);
    }
    const size_t current = possible[random.below(possible.size())];
    const Phrase& phrase = pool[current];
    for (size_t place = 0; place < phrase.size() && static_cast<int64_t>(sequence.tokens.size()) < length; ++place) {
      sequence.recallable.push_back(place >= 1 && known[current] && candidates.size() == 1);
      sequence.tokens.push_back(phrase[place]);
      // No candidate is shorter: it would have differed at its separator.
      std::erase_if(candidates, [&](size_t other) { return pool[other][place] != phrase[place]; });
    }
    known[current] = true;
    recent.push_back(current);
    if (recent.size() > max_recent) recent.pop_front();
  }
  return sequence;
}

PhraseSource::PhraseSource(const DataConfig& resolved, DataSplit split, uint64_t seed)
    : config_(resolved), split_(split), seed_(seed), stages_(stages_of(resolved, split)) {}

std::vector<Phrase> PhraseSource::draw_pool(int64_t size, base::RandomStream& random) const {
  std::vector<Phrase> pool;
  for (int64_t attempt = 0; attempt < 1000 * size; ++attempt) {
    Phrase phrase = draw_phrase(random);
    if (std::find(pool.begin(), pool.end(), phrase) == pool.end()) pool.push_back(std::move(phrase));
    if (static_cast<int64_t>(pool.size()) == size) return pool;
  }
  throw base::DataError(base::concat("found no ", size,
                                     " distinct phrases: data.pool_size is too large for this "
                                     "text, alphabet_size and phrase lengths"));
}

Batch PhraseSource::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  const DataStage& stage = stage_at(stages_, step);
  const int64_t length = stage.sequence_length;
  Batch batch;
  batch.input_ids = at::empty({num_samples, length}, at::kLong);
  batch.recallable = at::empty({num_samples, length}, at::kBool);
  auto* ids = batch.input_ids.mutable_data_ptr<int64_t>();
  auto* recallable = batch.recallable.mutable_data_ptr<bool>();
  for (int64_t row = 0; row < num_samples; ++row) {
    base::RandomStream random(sample_key(seed_, split_, step, first_sample + row));
    const std::vector<Phrase> pool = draw_pool(stage.pool_size, random);
    const PhraseSequence sequence = repeat_phrases(pool, length, config_.num_excluded_phrases, random);
    std::copy(sequence.tokens.begin(), sequence.tokens.end(), ids + row * length);
    std::copy(sequence.recallable.begin(), sequence.recallable.end(), recallable + row * length);
  }
  batch.labels = batch.input_ids.clone();
  if (stage.unrecallable_weight != 1.0) {
    batch.loss_weights =
        at::where(batch.recallable, at::ones({}, at::kFloat), at::full({}, stage.unrecallable_weight, at::kFloat));
  }
  return batch;
}

std::string PhraseSource::fingerprint() const {
  return base::concat(config_.kind == DataKind::phrases ? "phrases" : "lines", " vocabulary=", config_.vocabulary_size,
                      " phrase_lengths=", config_.min_phrase_length, "-", config_.max_phrase_length,
                      " excluded=", config_.num_excluded_phrases, " alphabet=", config_.alphabet_size, " ",
                      describe_stages(stages_), " ", describe_split(split_, seed_));
}

Phrase RandomPhraseSource::draw_phrase(base::RandomStream& random) const {
  Phrase phrase(static_cast<size_t>(random.between(config_.min_phrase_length, config_.max_phrase_length)));
  for (int64_t& symbol : phrase) symbol = 1 + static_cast<int64_t>(random.below(config_.alphabet_size));
  phrase.push_back(0);
  return phrase;
}

LineSource::LineSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const std::filesystem::path& path)
    : LineSource(resolved, split, seed, TextCorpus(path, resolved.vocabulary_size)) {}

LineSource::LineSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const TextCorpus& corpus)
    : PhraseSource(resolved, split, seed), text_checksum_(corpus.checksum()), words_(corpus) {}

std::string LineSource::fingerprint() const { return base::concat(PhraseSource::fingerprint(), " text=", content()); }

std::string LineSource::content() const { return base::to_hex(text_checksum_); }

Phrase LineSource::draw_phrase(base::RandomStream& random) const {
  const std::string_view words = words_.random_words(random, config_.min_phrase_length, config_.max_phrase_length);
  Phrase phrase;
  for (char symbol : words) phrase.push_back(static_cast<unsigned char>(symbol));
  phrase.push_back('\n');
  return phrase;
}

}  // namespace rosa::training
