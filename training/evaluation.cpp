#include "training/evaluation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "training/losses.h"

namespace rosa::training {
namespace {

// Of each sequence of a batch: all tokens, recallable ones.
using RowSums = std::vector<std::pair<TokenSums, TokenSums>>;

RowSums score(const RunConfig& config, const RunParts& parts, const Batch& batch, const std::string& variant) {
  models::ForwardOptions options = variant_options(config, parts, variant);
  if (batch.documents.defined()) options.documents = batch.documents.to(parts.device);
  const models::CausalModel& model = parts.model_of(variant);
  const at::Tensor hidden = model.hidden_states(batch.input_ids.to(parts.device), options);
  const at::Tensor ce = token_cross_entropy(hidden, model.lm_head_weight(), batch.labels.to(parts.device), config.loss)
                            .cpu()
                            .to(at::kDouble);
  const at::Tensor counted = counted_tokens(batch);
  const auto sums_of = [&](const at::Tensor& mask) {
    // A token that does not count has no part in the sum, whatever its value is.
    return std::pair(at::where(mask, ce, 0.0).sum(1).contiguous(), mask.sum(1).to(at::kDouble).contiguous());
  };
  const auto [ce_sums, counts] = sums_of(counted);
  RowSums rows(static_cast<size_t>(ce.size(0)));
  for (size_t row = 0; row < rows.size(); ++row) {
    rows[row].first = {ce_sums.const_data_ptr<double>()[row], counts.const_data_ptr<double>()[row]};
  }
  if (!batch.recallable.defined()) return rows;
  const auto [recallable_sums, recallable_counts] = sums_of(batch.recallable.logical_and(counted));
  for (size_t row = 0; row < rows.size(); ++row) {
    rows[row].second = {recallable_sums.const_data_ptr<double>()[row], recallable_counts.const_data_ptr<double>()[row]};
  }
  return rows;
}

[[noreturn]] void refuse_empty(const RunConfig& config, int64_t num_sequences) {
  throw base::DataError(base::concat(
      "the held-out data '", config.data.held_out_path, "' has nothing to score: none of its ", num_sequences,
      " sequences has a token with another one of its document before it; take longer documents"));
}

constexpr size_t kNumbers = 4;  // of a sequence and a variant
// Whatever the number of sequences, so many batches are held at a time.
constexpr int64_t kBatchesAtOnce = 1024;

// Scores batches [first_batch, end_batch), shared out over the ranks. Every sequence has its own entries, filled by one
// rank: the sum over ranks is exact, and the order of sequences fixed.
std::vector<double> score_batches(const RunConfig& config, const RunParts& parts, const HeldOutSequences& held_out,
                                  const std::vector<std::string>& variants, int64_t first_batch, int64_t end_batch) {
  const int64_t sequences = config.train.micro_batch_sequences, num_batches = end_batch - first_batch;
  const int64_t rank = parts.communicator.rank(), world_size = parts.communicator.world_size();
  const int64_t first = first_batch * sequences, end = std::min(held_out.size(), end_batch * sequences);
  std::vector<double> entries(static_cast<size_t>(end - first) * variants.size() * kNumbers, 0.0);
  const int64_t own_end = num_batches * (rank + 1) / world_size;
  int64_t i = num_batches * rank / world_size;
  // Ranks that share out weights run the layers together: each as often as the one with most batches. What a rank
  // scores beyond its own does not count.
  const int64_t last = parts.shared_layers.empty() ? own_end : i + (num_batches + world_size - 1) / world_size;
  for (; i < last; ++i) {
    const int64_t begin = first + std::min(i, num_batches - 1) * sequences;
    const Batch batch = held_out.batch(begin, std::min(sequences, end - begin));
    for (size_t v = 0; v < variants.size(); ++v) {
      const RowSums rows = score(config, parts, batch, variants[v]);
      if (i >= own_end) continue;
      for (size_t row = 0; row < rows.size(); ++row) {
        const size_t sequence = static_cast<size_t>(begin - first) + row;
        double* entry = entries.data() + (sequence * variants.size() + v) * kNumbers;
        entry[0] = rows[row].first.ce;
        entry[1] = rows[row].first.count;
        entry[2] = rows[row].second.ce;
        entry[3] = rows[row].second.count;
      }
    }
  }
  return parts.communicator.all_reduce_values(entries, parallel::Reduction::sum);
}

}  // namespace

HeldOutSequences::HeldOutSequences(const RunConfig& config, const DataSource& data) : data_(data) {
  const std::optional<int64_t> of_file = data.num_sequences_of_file();
  num_ = config.evaluation.num_sequences;
  base::require<base::ConfigError>(num_ != base::kAll || of_file.has_value(),
                                   "evaluation.num_sequences is all, but this kind of data (data.kind) draws its ",
                                   "sequences at random and never ends; give a number");
  is_whole_ = of_file.has_value() && (num_ == base::kAll || num_ >= *of_file);
  if (is_whole_) num_ = *of_file;
}

Batch HeldOutSequences::batch(int64_t first, int64_t count) const {
  return is_whole_ ? data_.sequences_of_file(first, count) : data_.batch(/*step=*/0, first, count);
}

at::Tensor counted_tokens(const Batch& batch) {
  at::Tensor counted = batch.labels.ne(kIgnoredLabel);
  counted.select(1, 0).fill_(false);
  return counted;
}

namespace {

void set_spans(const StudentSection& student, int64_t num_layers, models::ForwardOptions& options) {
  options.sliding_window = student.sliding_window;
  options.layer_windows = windows_of_layers(student, num_layers);
  options.sink_tokens = student.sink_tokens;
}

}  // namespace

models::ForwardOptions variant_options(const RunConfig& config, const RunParts& parts, const std::string& variant) {
  if (variant == "teacher") return {};
  if (variant == "window") {
    models::ForwardOptions options;
    set_spans(config.student, parts.model.config().num_hidden_layers, options);
    return options;
  }
  static const std::map<std::string, OperatorControl> controls = {{"rosa", OperatorControl::none},
                                                                  {"rosa_zeroed", OperatorControl::zeroed},
                                                                  {"rosa_shuffled", OperatorControl::shuffled},
                                                                  {"rosa_windowed", OperatorControl::windowed}};
  const auto control = controls.find(variant);
  base::require(control != controls.end(), "unknown variant '", variant, "' of an evaluation");
  base::require(parts.adapters != nullptr, "variant '", variant, "' needs adapters, and this run has none");
  models::ForwardOptions options = student_options(config, parts.model, parts.adapters, parts.executor);
  options.operator_options.control = control->second;
  return options;
}

models::ForwardOptions student_options(const RunConfig& config, const models::CausalModel& model,
                                       const models::AdapterSet* adapters, HostExecutor& executor) {
  models::ForwardOptions options;
  set_spans(config.student, model.config().num_hidden_layers, options);
  options.adapters = adapters;
  options.executor = &executor;
  options.operator_options.sliding_window = config.student.sliding_window;
  options.sequence_chunk = config.train.sequence_chunk;
  return options;
}

void TokenSums::add(const TokenSums& other) {
  ce += other.ce;
  count += other.count;
}

void SequenceSums::add(int64_t sequence, const TokenSums& sums) {
  total.add(sums);
  groups[static_cast<size_t>(sequence) % kNumGroups].add(sums);
}

Scores evaluate_variants(const RunConfig& config, const RunParts& parts, const std::vector<std::string>& variants) {
  at::NoGradGuard no_grad;
  const HeldOutSequences held_out(config, parts.held_out_data);
  const int64_t sequences = config.train.micro_batch_sequences;
  const int64_t num_batches = (held_out.size() - 1) / sequences + 1;
  Scores scores;
  for (int64_t first = 0; first < num_batches; first += kBatchesAtOnce) {
    const int64_t end = std::min(num_batches, first + kBatchesAtOnce);
    const std::vector<double> entries = score_batches(config, parts, held_out, variants, first, end);
    const double* entry = entries.data();
    for (int64_t sequence = first * sequences; entry < entries.data() + entries.size(); ++sequence) {
      for (const std::string& variant : variants) {
        VariantScore& score = scores[variant];
        score.all.add(sequence, {entry[0], entry[1]});
        score.recallable.add(sequence, {entry[2], entry[3]});
        ++score.num_sequences;
        entry += kNumbers;
      }
    }
  }
  for (const auto& [variant, score] : scores) {
    if (score.all.total.count == 0) refuse_empty(config, held_out.size());
  }
  return scores;
}

void check_held_out_data(const RunConfig& config, const DataSource& data) {
  const HeldOutSequences held_out(config, data);
  // The first sequence nearly always has one.
  for (int64_t i = 0; i < held_out.size(); ++i) {
    if (counted_tokens(held_out.batch(i, 1)).any().item<bool>()) return;
  }
  refuse_empty(config, held_out.size());
}

void require_finite_scores(const Scores& scores, const RunParts& parts) {
  for (const auto& entry : scores) parts.model_of(entry.first).require_same_files();
  for (const auto& [variant, score] : scores) {
    if (std::isfinite(score.ce())) continue;
    std::string weight;
    const auto look = [&weight](const auto& tensors) {
      for (const auto& [name, tensor] : tensors) {
        if (weight.empty() && !tensor.is_meta() && !at::isfinite(tensor.detach()).all().template item<bool>())
          weight = name;
      }
    };
    look(parts.model_of(variant).parameters());
    if (parts.adapters != nullptr) look(parts.adapters->parameters());
    throw base::NumericError(base::concat(
        "the cross-entropy of '", variant, "' is ", score.ce(),
        weight.empty() ? "; all weights are finite, so the activations are not: do model and data belong together, and "
                         "is model.compute_dtype wide enough?"
                       : "; the weight '" + weight +
                             "' holds numbers that are not finite: take another checkpoint, or "
                             "another copy of the model"));
  }
}

std::optional<double> gap_closed(const SequenceSums& window, const SequenceSums& student, const SequenceSums& teacher) {
  const double gap = window.total.mean() - teacher.total.mean();
  double squares = 0.0, num_groups = 0.0;
  for (size_t i = 0; i < SequenceSums::kNumGroups; ++i) {
    const TokenSums& one = window.groups[i];
    if (one.count == 0) continue;
    const double difference = one.ce - teacher.groups[i].ce - gap * one.count;
    squares += difference * difference;
    num_groups += 1.0;
  }
  if (num_groups < 2) return std::nullopt;
  const double standard_error = std::sqrt(squares * num_groups / (num_groups - 1)) / window.total.count;
  if (!(gap > kLeastGap && gap > 2 * standard_error)) return std::nullopt;
  return (window.total.mean() - student.total.mean()) / gap;
}

}  // namespace rosa::training
