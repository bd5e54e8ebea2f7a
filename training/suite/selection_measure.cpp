#include "training/suite/selection_measure.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/activity.h"
#include "base/error.h"

namespace rosa::training {
namespace {

// The teacher's log-probabilities are kept where a rank's take no more; else they are made of its hidden states anew.
constexpr int64_t kMaxKeptBytes = int64_t{1} << 30;

at::Tensor log_probabilities(const models::CausalModel& model, const at::Tensor& hidden) {
  return model.logits(hidden).to(at::kFloat).log_softmax(-1);
}

// Whether what an adapter adds is 0 whatever it retrieves.
bool is_silent(const models::AdapterSet& adapters, int64_t layer) {
  const auto is_zero = [&](const char* name) { return adapters.weight(layer, name).eq(0).all().item<bool>(); };
  return is_zero("o_proj.weight") && (!adapters.config().bias || is_zero("o_proj.bias"));
}

}  // namespace

// A batch, and what the teacher makes of it.
struct SelectionMeasure::Texts {
  int64_t first = 0;  // number of its first sequence
  at::Tensor ids, documents;
  std::vector<at::Tensor> before;         // of each row, int64 [n]: the positions that predict a counted token
  std::vector<at::Tensor> teacher;        // of each row, [n,hidden]
  std::vector<at::Tensor> teacher_log_p;  // of each row, float [n,vocabulary]; empty: not kept
};

SelectionMeasure::SelectionMeasure(const RunConfig& config, const RunParts& parts)
    : config_(config), parts_(parts), held_out_(config, parts.held_out_data) {
  const at::NoGradGuard no_gradient;
  const int64_t rows = config.train.micro_batch_sequences, num_batches = (held_out_.size() - 1) / rows + 1;
  const int64_t rank = parts.communicator.rank(), world_size = parts.communicator.world_size();
  const models::CausalModel& teacher = parts.teacher();
  int64_t own_tokens = 0;
  for (int64_t i = num_batches * rank / world_size; i < num_batches * (rank + 1) / world_size; ++i) {
    const Batch batch = held_out_.batch(i * rows, std::min(rows, held_out_.size() - i * rows));
    auto texts = std::make_shared<Texts>();
    texts->first = i * rows;
    texts->ids = batch.input_ids.to(parts.device);
    if (batch.documents.defined()) texts->documents = batch.documents.to(parts.device);
    const at::Tensor counted = counted_tokens(batch);
    const at::Tensor hidden = teacher.teacher_hidden_states(texts->ids, texts->documents, config.train.sequence_chunk);
    for (int64_t row = 0; row < hidden.size(0); ++row) {
      texts->before.push_back(counted[row].nonzero().squeeze(1).sub(1).to(parts.device));
      texts->teacher.push_back(hidden[row].index_select(0, texts->before.back()));
      own_tokens += texts->before.back().numel();
    }
    base::note_progress();
    batches_.push_back(std::move(texts));
  }
  num_tokens_ = parts.communicator.all_reduce_values(std::vector<int64_t>{own_tokens}, parallel::Reduction::sum)[0];
  base::require<base::DataError>(num_tokens_ > 0, "none of the ", held_out_.size(), " held-out sequences has a token ",
                                 "with another one of its document before it; take longer documents");
  if (own_tokens * teacher.config().vocab_size * static_cast<int64_t>(sizeof(float)) > kMaxKeptBytes) return;
  for (const auto& texts : batches_) {
    for (const at::Tensor& hidden : texts->teacher) texts->teacher_log_p.push_back(kept_log_probabilities(hidden));
  }
}

int64_t SelectionMeasure::chunk_tokens() const { return config_.loss.tokens_at_once(parts_.model.lm_head_weight()); }

// In the chunks in which it would be made anew, so that both have the same bits.
at::Tensor SelectionMeasure::kept_log_probabilities(const at::Tensor& hidden) const {
  std::vector<at::Tensor> chunks;
  for (const at::Tensor& chunk : hidden.split(chunk_tokens())) {
    chunks.push_back(log_probabilities(parts_.teacher(), chunk));
  }
  return at::cat(chunks);
}

models::ForwardOptions SelectionMeasure::options_of(const LayerKinds& kinds) const {
  const auto num_layers = static_cast<size_t>(parts_.model.config().num_hidden_layers);
  StudentSection student = config_.student;
  student.global_layers.clear();
  bool has_adapter = false;
  models::ForwardOptions options = student_options(config_, parts_.model, parts_.adapters, parts_.executor);
  for (size_t place = 0; place <= num_layers; ++place) {
    const auto layer = static_cast<int64_t>(place);
    if (kinds[place] == LayerKind::global) student.global_layers.push_back(layer);
    if (kinds[place] == LayerKind::rosa) has_adapter = true;
    if (kinds[place] != LayerKind::rosa) options.left_out.insert(layer);
  }
  options.layer_windows = windows_of_layers(student, static_cast<int64_t>(num_layers));
  if (!has_adapter) options.adapters = nullptr;
  return options;
}

double SelectionMeasure::sum_of(const Texts& texts, int64_t row, const at::Tensor& hidden) const {
  const auto at_row = static_cast<size_t>(row);
  const at::Tensor& before = texts.before[at_row];
  const at::Tensor states = hidden[row].index_select(0, before);
  double sum = 0.0;
  for (int64_t first = 0; first < before.numel(); first += chunk_tokens()) {
    const int64_t count = std::min(chunk_tokens(), before.numel() - first);
    const at::Tensor log_q = texts.teacher_log_p.empty()
                                 ? log_probabilities(parts_.teacher(), texts.teacher[at_row].narrow(0, first, count))
                                 : texts.teacher_log_p[at_row].narrow(0, first, count);
    const at::Tensor log_p = log_probabilities(parts_.model, states.narrow(0, first, count));
    sum += (log_q.exp() * (log_q - log_p)).sum(-1).to(at::kDouble).sum().item<double>();
  }
  return sum;
}

std::vector<double> SelectionMeasure::kl(const std::vector<LayerKinds>& students) const {
  const at::NoGradGuard no_gradient;
  const size_t num_sequences = static_cast<size_t>(held_out_.size());
  // Every sequence has its own entries, filled by one rank: the sum over ranks is exact, and the order fixed.
  std::vector<double> entries(num_sequences * students.size(), 0.0);
  int64_t done = 0, total = 0;
  for (const auto& texts : batches_) total += texts->ids.size(0) * static_cast<int64_t>(students.size());
  for (const auto& texts : batches_) {
    for (size_t student = 0; student < students.size(); ++student) {
      models::ForwardOptions options = options_of(students[student]);
      options.documents = texts->documents;
      const at::Tensor hidden = parts_.model.hidden_states(texts->ids, options);
      for (int64_t row = 0; row < hidden.size(0); ++row) {
        entries[student * num_sequences + static_cast<size_t>(texts->first + row)] = sum_of(*texts, row, hidden);
      }
      base::note_progress();
      done += hidden.size(0);
      if (progress_) progress_(done, total);
    }
  }
  entries = parts_.communicator.all_reduce_values(entries, parallel::Reduction::sum);
  std::vector<double> means(students.size(), 0.0);
  for (size_t i = 0; i < entries.size(); ++i) means[i / num_sequences] += entries[i];
  for (double& mean : means) mean /= static_cast<double>(num_tokens_);
  return means;
}

LayerKinds bare_layers(const RunConfig& config, int64_t num_layers) {
  LayerKinds kinds(static_cast<size_t>(num_layers) + 1, LayerKind::window);
  for (size_t layer = 0; layer < config.student.layer_windows.size(); ++layer) {
    if (config.student.layer_windows[layer] == 0) kinds[layer] = LayerKind::global;
  }
  return kinds;
}

CountedCosts count_costs(const RunConfig& config, const RunParts& parts, int64_t num_tokens) {
  const at::NoGradGuard no_gradient;
  const models::ModelConfig& model = parts.model.config();
  const auto num_places = static_cast<size_t>(model.num_hidden_layers) + 1;
  CountedCosts counted;
  counted.costs.global_bytes = static_cast<double>(2 * model.num_key_value_heads * model.head_dim *
                                                   parts.model.compute_options().dtype().itemsize());
  counted.costs.rosa_bytes.resize(num_places);
  if (parts.adapters == nullptr) return counted;
  std::map<int64_t, RosaState> states;
  for (const int64_t layer : parts.adapters->config().layers) {
    if (is_silent(*parts.adapters, layer)) {
      counted.silent_layers.push_back(layer);
    } else {
      states.emplace(layer, parts.adapters->make_state(1));
    }
  }
  if (states.empty()) return counted;
  // On the first rank, whose figures are everyone's.
  std::vector<double> figures(num_places + 1, 0.0);
  if (parts.communicator.rank() == 0) {
    models::ForwardOptions options = student_options(config, parts.model, parts.adapters, parts.executor);
    options.watch_adapter_inputs = [&](int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) {
      const auto state = states.find(layer);
      if (state != states.end()) parts.adapters->append(layer, normed, first_input, state->second, parts.executor);
    };
    const HeldOutSequences held_out(config, parts.held_out_data);
    int64_t length = 0;
    for (int64_t i = 0; i < held_out.size() && length < num_tokens; ++i) {
      const at::Tensor ids = held_out.batch(i, 1).input_ids.to(parts.device);
      parts.model.hidden_states(ids, options);
      length += ids.size(1);
      base::note_progress();
    }
    for (const auto& [layer, state] : states) {
      figures[static_cast<size_t>(layer)] = static_cast<double>(state.num_bytes()) / static_cast<double>(length);
    }
    figures.back() = static_cast<double>(length);
  }
  figures = parts.communicator.all_reduce_values(figures, parallel::Reduction::sum);
  counted.num_tokens = static_cast<int64_t>(figures.back());
  for (const auto& [layer, state] : states) {
    counted.costs.rosa_bytes[static_cast<size_t>(layer)] = figures[static_cast<size_t>(layer)];
  }
  return counted;
}

}  // namespace rosa::training
