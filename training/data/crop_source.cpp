#include "training/data/crop_source.h"

#include "base/checksum.h"
#include "base/error.h"
#include "training/data/sample_keys.h"

namespace rosa::training {

CropSource::CropSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const std::filesystem::path& path)
    : split_(split),
      seed_(seed),
      vocabulary_size_(resolved.vocabulary_size),
      stages_(stages_of(resolved, split)),
      corpus_(path, resolved.vocabulary_size) {
  for (const DataStage& stage : stages_) {
    base::require<base::DataError>(stage.sequence_length <= static_cast<int64_t>(corpus_.text().size()), "'",
                                   path.string(), "' has ", corpus_.text().size(),
                                   " bytes, fewer than data.sequence_length, ", stage.sequence_length);
  }
}

Batch CropSource::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  const int64_t length = stage_at(stages_, step).sequence_length;
  const std::string& text = corpus_.text();
  Batch batch;
  batch.input_ids = at::empty({num_samples, length}, at::kLong);
  auto* ids = batch.input_ids.mutable_data_ptr<int64_t>();
  for (int64_t row = 0; row < num_samples; ++row) {
    base::RandomStream random(sample_key(seed_, split_, step, first_sample + row));
    const size_t start = random.below(text.size() - static_cast<size_t>(length) + 1);
    for (int64_t t = 0; t < length; ++t) {
      ids[row * length + t] = static_cast<unsigned char>(text[start + static_cast<size_t>(t)]);
    }
  }
  batch.labels = batch.input_ids.clone();
  return batch;
}

std::string CropSource::fingerprint() const {
  return base::concat("crops vocabulary=", vocabulary_size_, " ", describe_stages(stages_), " ",
                      describe_split(split_, seed_), " text=", content());
}

std::string CropSource::content() const { return base::to_hex(corpus_.checksum()); }

}  // namespace rosa::training
