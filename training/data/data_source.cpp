#include "training/data/data_source.h"

#include "base/error.h"
#include "training/data/crop_source.h"
#include "training/data/mixture_source.h"
#include "training/data/phrase_source.h"
#include "training/data/repeated_source.h"
#include "training/data/token_source.h"

namespace rosa::training {

Batch UnusedData::batch(int64_t /*step*/, int64_t /*first_sample*/, int64_t /*num_samples*/) const {
  throw base::Error("this data was not read: " + why_);
}

Batch DataSource::sequences_of_file(int64_t, int64_t) const {
  throw base::ArgumentError("DataSource::sequences_of_file: this data has no file to cut");
}

std::vector<DataStage> stages_of(const DataConfig& config, DataSplit split) {
  std::vector<DataStage> result = stages(config);
  if (split == DataSplit::train) return result;
  DataStage last = result.back();
  last.index = 0;
  last.first_step = 0;
  last.unrecallable_weight = 1.0;
  return {last};
}

namespace {

std::unique_ptr<DataSource> make_plain_source(const DataConfig& resolved, DataSplit split, uint64_t seed,
                                              int64_t samples_per_step) {
  const bool train = split == DataSplit::train;
  if (train && !resolved.sources.empty()) return std::make_unique<MixtureSource>(resolved, seed, samples_per_step);
  const std::string& path = train ? resolved.train_path : resolved.held_out_path;
  base::require<base::ConfigError>(resolved.kind == DataKind::phrases || !path.empty(),
                                   train ? "data.train_path" : "data.held_out_path",
                                   " is empty: name a text or token file");
  switch (resolved.kind) {
    case DataKind::phrases:
      return std::make_unique<RandomPhraseSource>(resolved, split, seed);
    case DataKind::lines:
      return std::make_unique<LineSource>(resolved, split, seed, path);
    case DataKind::crops:
      return std::make_unique<CropSource>(resolved, split, seed, path);
    case DataKind::token_file:
      return std::make_unique<TokenSource>(resolved, split, seed, path, samples_per_step);
  }
  throw base::ConfigError("data.kind is unknown");
}

}  // namespace

std::unique_ptr<DataSource> make_data_source(const DataConfig& config, DataSplit split, uint64_t seed,
                                             int64_t samples_per_step) {
  base::require(samples_per_step >= 1, "make_data_source: got ", samples_per_step, " samples per step");
  const DataConfig resolved = resolve(config);
  auto source = make_plain_source(resolved, split, seed, samples_per_step);
  if (split == DataSplit::held_out || resolved.repeat_share == 0) return source;
  return std::make_unique<RepeatedSource>(std::move(source), resolved, seed);
}

}  // namespace rosa::training
