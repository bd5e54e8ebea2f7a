#include "training/data/token_source.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/error.h"
#include "training/data/sample_keys.h"

namespace rosa::training {

TokenSource::TokenSource(const DataConfig& resolved, DataSplit split, uint64_t seed, const std::filesystem::path& path,
                         int64_t samples_per_step)
    : file_(path),
      split_(split),
      seed_(seed),
      samples_per_step_(samples_per_step),
      packed_(resolved.packed_documents),
      stages_(stages_of(resolved, split)) {
  base::require<base::DataError>(resolved.vocabulary_size == 0 || file_.vocabulary_size() <= resolved.vocabulary_size,
                                 "'", path.string(), "' was packed for a vocabulary of ", file_.vocabulary_size(),
                                 ", more than data.vocabulary_size, ", resolved.vocabulary_size,
                                 "; pack it again or leave the key out");
  if (resolved.verify_tokens) file_.verify_tokens();
  for (const DataStage& stage : stages_) {
    cuts_.push_back(cut(stage.sequence_length));
    base::require<base::DataError>(cuts_.back().num_sequences > 0, "'", path.string(), "' has ", file_.num_tokens(),
                                   " tokens, fewer than data.sequence_length, ", stage.sequence_length);
  }
}

TokenSource::Cut TokenSource::cut(int64_t sequence_length) const {
  Cut result;
  if (packed_) {
    result.num_sequences = file_.num_tokens() / sequence_length;
    return result;
  }
  const auto starts = file_.document_starts();
  result.first_sequence.reserve(starts.size());
  for (size_t document = 0; document + 1 < starts.size(); ++document) {
    result.first_sequence.push_back(result.num_sequences);
    const auto length = static_cast<int64_t>(starts[document + 1] - starts[document]);
    result.num_sequences += (length + sequence_length - 1) / sequence_length;
  }
  return result;
}

int64_t TokenSource::num_sequences(int64_t step) const {
  return cuts_[static_cast<size_t>(stage_at(stages_, step).index)].num_sequences;
}

// `sample` counts from the first step of the stage.
TokenSource::Piece TokenSource::piece(const DataStage& stage, int64_t sample) const {
  const Cut& cut = cuts_[static_cast<size_t>(stage.index)];
  const int64_t epoch = sample / cut.num_sequences;
  const base::FeistelPermutation order(static_cast<uint64_t>(cut.num_sequences),
                                       order_seed(seed_, split_, stage.index, epoch));
  const auto sequence = static_cast<int64_t>(order(static_cast<uint64_t>(sample % cut.num_sequences)));
  if (packed_) return {sequence * stage.sequence_length, stage.sequence_length};
  auto next = std::upper_bound(cut.first_sequence.begin(), cut.first_sequence.end(), sequence);
  const auto document = static_cast<size_t>(next - cut.first_sequence.begin() - 1);
  const auto starts = file_.document_starts();
  const int64_t first =
      static_cast<int64_t>(starts[document]) + (sequence - cut.first_sequence[document]) * stage.sequence_length;
  return {first, std::min(stage.sequence_length, static_cast<int64_t>(starts[document + 1]) - first)};
}

void TokenSource::fill_documents(const Piece& piece, int64_t* documents, int64_t* labels) const {
  const auto starts = file_.document_starts();
  int64_t document = file_.document_at(piece.first);
  const int64_t first_document = document;
  for (int64_t t = 0; t < piece.num_tokens; ++t) {
    if (static_cast<uint64_t>(piece.first + t) == starts[static_cast<size_t>(document) + 1]) ++document;
    if (static_cast<uint64_t>(piece.first + t) == starts[static_cast<size_t>(document)]) labels[t] = kIgnoredLabel;
    documents[t] = document - first_document;
  }
}

void TokenSource::apply_loss_mask(const Piece& piece, bool* mask, int64_t* labels) const {
  for (int64_t t = 0; t < piece.num_tokens; ++t) {
    mask[t] = file_.counts(piece.first + t);
    if (!mask[t]) labels[t] = kIgnoredLabel;
  }
}

Batch TokenSource::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  base::require(first_sample >= 0 && num_samples >= 0 &&
                    (split_ == DataSplit::held_out || first_sample + num_samples <= samples_per_step_),
                "TokenSource::batch: got samples ", first_sample, " to ", first_sample + num_samples,
                ", expected them within the global batch of ", samples_per_step_);
  const DataStage& stage = stage_at(stages_, step);
  return samples(stage, (step - stage.first_step) * samples_per_step_ + first_sample, num_samples);
}

Batch TokenSource::samples(const DataStage& stage, int64_t first, int64_t num_samples) const {
  const int64_t length = stage.sequence_length;
  Batch batch;
  batch.input_ids = at::zeros({num_samples, length}, at::kLong);
  batch.labels = at::full({num_samples, length}, kIgnoredLabel, at::kLong);
  (packed_ ? batch.documents : batch.padding) =
      packed_ ? at::zeros({num_samples, length}, at::kLong) : at::ones({num_samples, length}, at::kBool);
  if (file_.facts().has_loss_mask) batch.loss_mask = at::zeros({num_samples, length}, at::kBool);
  for (int64_t row = 0; row < num_samples; ++row) {
    const Piece piece = this->piece(stage, first + row);
    auto* ids = batch.input_ids.mutable_data_ptr<int64_t>() + row * length;
    auto* labels = batch.labels.mutable_data_ptr<int64_t>() + row * length;
    file_.read(piece.first, {ids, static_cast<size_t>(piece.num_tokens)});
    std::copy_n(ids, piece.num_tokens, labels);
    if (batch.loss_mask.defined()) {
      apply_loss_mask(piece, batch.loss_mask.mutable_data_ptr<bool>() + row * length, labels);
    }
    if (packed_) {
      fill_documents(piece, batch.documents.mutable_data_ptr<int64_t>() + row * length, labels);
    } else {
      std::fill_n(batch.padding.mutable_data_ptr<bool>() + row * length, piece.num_tokens, false);
    }
  }
  return batch;
}

// The first epoch of the last stage.
Batch TokenSource::sequences_of_file(int64_t first, int64_t num_sequences) const {
  base::require(split_ == DataSplit::held_out, "TokenSource::sequences_of_file: expected a held-out source");
  return batch(/*step=*/0, first, num_sequences);
}

std::optional<double> TokenSource::text_bytes_per_token() const {
  if (file_.facts().num_text_bytes <= 0) return std::nullopt;
  return static_cast<double>(file_.facts().num_text_bytes) / static_cast<double>(file_.num_tokens());
}

std::string TokenSource::fingerprint() const {
  return base::concat("token_file packed=", packed_, " samples_per_step=", samples_per_step_, " ",
                      describe_stages(stages_), " ", describe_split(split_, seed_), " file=", content());
}

std::string TokenSource::content() const { return base::to_hex(file_.header_checksum()); }

}  // namespace rosa::training
