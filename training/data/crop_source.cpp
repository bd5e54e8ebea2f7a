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

Batch CropSource::crops(const std::vector<size_t>& starts, int64_t length) const {
  const std::string& text = corpus_.text();
  Batch batch;
  batch.input_ids = at::empty({static_cast<int64_t>(starts.size()), length}, at::kLong);
  auto* ids = batch.input_ids.mutable_data_ptr<int64_t>();
  for (const size_t start : starts) {
    for (int64_t t = 0; t < length; ++t) *ids++ = static_cast<unsigned char>(text[start + static_cast<size_t>(t)]);
  }
  batch.labels = batch.input_ids.clone();
  return batch;
}

Batch CropSource::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  const int64_t length = stage_at(stages_, step).sequence_length;
  std::vector<size_t> starts;
  for (int64_t row = 0; row < num_samples; ++row) {
    base::RandomStream random(sample_key(seed_, split_, step, first_sample + row));
    starts.push_back(random.below(corpus_.text().size() - static_cast<size_t>(length) + 1));
  }
  return crops(starts, length);
}

std::optional<int64_t> CropSource::num_sequences_of_file() const {
  return static_cast<int64_t>(corpus_.text().size()) / stages_.back().sequence_length;
}

Batch CropSource::sequences_of_file(int64_t first, int64_t num_sequences) const {
  const int64_t length = stages_.back().sequence_length;
  std::vector<size_t> starts;
  for (int64_t row = 0; row < num_sequences; ++row) starts.push_back(static_cast<size_t>((first + row) * length));
  return crops(starts, length);
}

std::string CropSource::fingerprint() const {
  return base::concat("crops vocabulary=", vocabulary_size_, " ", describe_stages(stages_), " ",
                      describe_split(split_, seed_), " text=", content());
}

std::string CropSource::content() const { return base::to_hex(corpus_.checksum()); }

}  // namespace rosa::training
