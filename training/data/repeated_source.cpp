#include "training/data/repeated_source.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "training/data/sample_keys.h"

namespace rosa::training {

RepeatedSource::RepeatedSource(std::unique_ptr<DataSource> source, const DataConfig& config, uint64_t seed)
    : ShiftedSource(*source, 0),
      source_(std::move(source)),
      share_(config.repeat_share),
      min_tokens_(config.repeat_min_tokens),
      max_tokens_(config.repeat_max_tokens),
      seed_(seed) {}

RepeatedSource::Passage RepeatedSource::draw(int64_t step, int64_t sample, const int64_t* documents,
                                             const bool* padding, int64_t length) const {
  base::RandomStream random(repeat_key(seed_, step, sample));
  if (random.uniform() >= share_) return {};
  if (padding != nullptr) length = std::find(padding, padding + length, true) - padding;
  if (length == 0) return {};
  // A document is drawn by its share of the sequence.
  int64_t begin = 0, end = length;
  if (documents != nullptr) {
    const int64_t document = documents[random.below(static_cast<uint64_t>(length))];
    begin = std::lower_bound(documents, documents + length, document) - documents;
    end = std::upper_bound(documents, documents + length, document) - documents;
  }
  const int64_t room = end - begin;
  const int64_t count = std::min(random.between(min_tokens_, max_tokens_), room / 2);
  if (count < min_tokens_) return {};
  const double nearest = static_cast<double>(count), farthest = static_cast<double>(room - count);
  const double drawn = nearest * std::pow(farthest / nearest, random.uniform());
  const int64_t distance = std::clamp(static_cast<int64_t>(std::llround(drawn)), count, room - count);
  const int64_t first = begin + random.between(0, room - count - distance);
  return {first, first + distance, count};
}

Batch RepeatedSource::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  Batch batch = ShiftedSource::batch(step, first_sample, num_samples);
  batch.input_ids = batch.input_ids.clone(at::MemoryFormat::Contiguous);
  batch.labels = batch.labels.clone(at::MemoryFormat::Contiguous);
  const at::Tensor documents = batch.documents.defined() ? batch.documents.contiguous() : at::Tensor();
  const at::Tensor padding = batch.padding.defined() ? batch.padding.contiguous() : at::Tensor();
  const int64_t length = batch.input_ids.size(1);
  for (int64_t row = 0; row < num_samples; ++row) {
    const Passage passage = draw(step, first_sample + row,
                                 documents.defined() ? documents.const_data_ptr<int64_t>() + row * length : nullptr,
                                 padding.defined() ? padding.const_data_ptr<bool>() + row * length : nullptr, length);
    int64_t* ids = batch.input_ids.mutable_data_ptr<int64_t>() + row * length;
    int64_t* labels = batch.labels.mutable_data_ptr<int64_t>() + row * length;
    std::copy_n(ids + passage.first, passage.count, ids + passage.again);
    for (int64_t t = passage.again; t < passage.again + passage.count; ++t) {
      if (labels[t] != kIgnoredLabel) labels[t] = ids[t];
    }
  }
  return batch;
}

std::string RepeatedSource::fingerprint() const {
  return base::concat(ShiftedSource::fingerprint(), " repeats ", share_, " of ", min_tokens_, " to ", max_tokens_,
                      " tokens, seed ", seed_);
}

}  // namespace rosa::training
