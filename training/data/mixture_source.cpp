#include "training/data/mixture_source.h"

#include <algorithm>
#include <utility>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "base/random.h"
#include "training/data/sample_keys.h"

namespace rosa::training {
namespace {

// Rows of several sources, one above the other. A mask that only some of them have counts everything in the others.
Batch stack(std::vector<Batch> rows) {
  const bool has_mask = std::any_of(rows.begin(), rows.end(), [](const Batch& row) { return row.loss_mask.defined(); });
  for (Batch& row : rows) {
    if (!has_mask || row.loss_mask.defined()) continue;
    row.loss_mask = row.padding.defined() ? row.padding.logical_not() : at::ones(row.labels.sizes(), at::kBool);
  }
  const auto join = [&rows](at::Tensor Batch::*member) {
    if (!(rows.front().*member).defined()) return at::Tensor();
    std::vector<at::Tensor> tensors;
    for (const Batch& row : rows) tensors.push_back(row.*member);
    return at::cat(tensors);
  };
  Batch batch;
  for (at::Tensor Batch::*member :
       {&Batch::input_ids, &Batch::labels, &Batch::loss_mask, &Batch::documents, &Batch::padding, &Batch::sources}) {
    batch.*member = join(member);
  }
  return batch;
}

}  // namespace

MixtureSource::MixtureSource(const DataConfig& resolved, uint64_t seed, int64_t samples_per_step)
    : samples_per_step_(samples_per_step), seed_(seed), stages_(stages_of(resolved, DataSplit::train)) {
  for (const DataSourceEntry& entry : resolved.sources) {
    names_.push_back(entry.name);
    paths_.push_back(entry.path);
    weights_.push_back(entry.weight);
    // A file that is there twice has two orders.
    const uint64_t own_seed = source_seed(seed, static_cast<int64_t>(sources_.size()));
    sources_.push_back(
        std::make_unique<TokenSource>(resolved, DataSplit::train, own_seed, entry.path, samples_per_step));
  }
  for (const DataStage& stage : stages_) orders_.emplace_back(weights_, mixture_seed(seed, stage.index));
  if (!resolved.accept_other_tokenizer) require_one_tokenizer();
}

void MixtureSource::require_one_tokenizer() const {
  std::optional<size_t> first;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const auto mark = sources_[i]->tokenizer();
    if (!mark) continue;
    if (!first) first = i;
    const auto other = sources_[*first]->tokenizer();
    base::require<base::DataError>(
        mark->fingerprint == other->fingerprint && mark->is_bytes == other->is_bytes, "'", paths_[*first],
        "' was packed with the tokenizer '", base::printable(other->name), "' (fingerprint ",
        base::to_hex(other->fingerprint), "), but '", paths_[i], "' with '", base::printable(mark->name), "' (",
        base::to_hex(mark->fingerprint),
        "): pack both with the model's, or set data.accept_other_tokenizer: true to take them all the same");
  }
}

Batch MixtureSource::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  base::require(first_sample >= 0 && num_samples >= 1 && first_sample + num_samples <= samples_per_step_,
                "MixtureSource::batch: got samples ", first_sample, " to ", first_sample + num_samples,
                ", expected them within the global batch of ", samples_per_step_);
  const DataStage& stage = stage_at(stages_, step);
  std::vector<Batch> rows;
  for (int64_t row = 0; row < num_samples; ++row) {
    const int64_t sample = (step - stage.first_step) * samples_per_step_ + first_sample + row;
    const MixtureOrder::Draw draw = order(stage).draw(sample);
    rows.push_back(sources_[static_cast<size_t>(draw.source)]->samples(stage, draw.index, 1));
    rows.back().sources = at::full({1}, draw.source, at::kLong);
  }
  return stack(std::move(rows));
}

int64_t MixtureSource::vocabulary_size() const {
  int64_t size = 0;
  for (const auto& source : sources_) size = std::max(size, source->vocabulary_size());
  return size;
}

std::optional<TokenizerMark> MixtureSource::tokenizer() const {
  for (const auto& source : sources_) {
    if (const auto mark = source->tokenizer()) return mark;
  }
  return std::nullopt;
}

std::string MixtureSource::fingerprint() const {
  std::string text = base::concat("mixture seed=", seed_, " samples_per_step=", samples_per_step_);
  for (size_t i = 0; i < sources_.size(); ++i) {
    text += base::concat(" weight=", weights_[i], " ", sources_[i]->fingerprint());
  }
  return text;
}

std::string MixtureSource::content() const {
  std::string text;
  for (const auto& source : sources_) text += base::concat(text.empty() ? "" : " ", source->content());
  return text;
}

std::vector<double> MixtureSource::source_epochs(int64_t num_steps) const {
  std::vector<double> epochs(sources_.size(), 0.0);
  for (const DataStage& stage : stages_) {
    const auto next = static_cast<size_t>(stage.index) + 1;
    const int64_t end = next < stages_.size() ? std::min(num_steps, stages_[next].first_step) : num_steps;
    if (end <= stage.first_step) break;
    const std::vector<int64_t> counts = order(stage).counts((end - stage.first_step) * samples_per_step_);
    for (size_t i = 0; i < sources_.size(); ++i) {
      epochs[i] += static_cast<double>(counts[i]) / static_cast<double>(sources_[i]->num_sequences(stage.first_step));
    }
  }
  return epochs;
}

}  // namespace rosa::training
