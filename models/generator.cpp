#include "models/generator.h"

#include <algorithm>

#include "base/error.h"
#include "models/adapter.h"
#include "models/generator_state.h"

namespace rosa::models {
namespace {

using base::require;

// Tokens of one text that are computed at once, and the most cells of their attention's mask.
constexpr int64_t kChunk = 512;
constexpr int64_t kMinChunk = 32;
constexpr int64_t kMaxCells = int64_t{1} << 23;

static_assert(Generator::kMaxTogether == KeyValueCache::kMaxTogether);

}  // namespace

Generator::State::State(const CausalModel& of_model, const ForwardOptions& of_options, int64_t rewind)
    : model(&of_model),
      adapters(of_options.adapters),
      executor(of_options.executor),
      options(of_options),
      max_rewind(rewind),
      step(of_model, of_options.adapters, of_options.executor) {
  require(!options.documents.defined(), "generation takes no documents: each row is one text");
  require(options.left_out.empty(), "generation takes all adapters or none");
  require(options.operator_options.control == OperatorControl::none, "generation takes no operator control");
  require<base::ConfigError>(
      options.adapters == nullptr || !options.adapters->config().limit_to_window,
      "adapters with limit_to_window are a control, for training and scores: they don't generate");
  require(options.adapters == nullptr || options.executor != nullptr, "generation with adapters needs an executor");
  check_spans(options, of_model.config().num_hidden_layers);
  require(rewind >= 0 && rewind <= int64_t{1} << 30, "max_rewind is ", rewind, "; expected 0 to 2^30");
}

TextState Generator::State::empty_text() const {
  TextState text;
  const int64_t num_layers = model->config().num_hidden_layers;
  for (int64_t layer = 0; layer <= num_layers; ++layer) {
    if (layer < num_layers) text.caches.emplace_back(options.span(layer), max_rewind);
    text.rosa_states.emplace_back();
    if (adapters != nullptr && adapters->has_layer(layer)) text.rosa_states.back() = adapters->make_state(1);
  }
  return text;
}

at::Tensor Generator::State::append_chunk(TextState& text, const at::Tensor& ids, int64_t rotary_length) const {
  LayerContext context;
  context.attention = [&text](int64_t layer, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
    return text.caches[layer].attend(query, key, value);
  };
  at::Tensor hidden = model->embed(ids);
  const at::Tensor first = model->first_input(hidden, adapters);
  context.begin_adapter = [this, &text, &first](int64_t layer, const at::Tensor& normed) {
    std::optional<RosaState>& state = text.rosa_states[layer];
    return state ? adapters->append(layer, normed, first, *state, *executor) : FinishAdapter();
  };
  if (adapters != nullptr) {
    context.adapter_place = adapters->config().place;
    context.low_rank = adapters->low_rank();
  }
  const int64_t count = ids.size(1);
  model->set_rotary_tables(at::arange(text.size, text.size + count, ids.options()).unsqueeze(0), context,
                           rotary_length);
  for (int64_t layer = 0; layer < model->config().num_hidden_layers; ++layer) {
    hidden = model->layer(layer, hidden, context);
  }
  text.size += count;
  return model->finish(hidden, context);
}

at::Tensor Generator::State::append_long(TextState& text, std::span<const int64_t> ids, int64_t num_wanted) const {
  const auto total = static_cast<int64_t>(ids.size());
  const int64_t rotary_length = text.size + total;
  int64_t longest_span = 0;
  for (int64_t layer = 0; layer < model->config().num_hidden_layers; ++layer) {
    const AttentionSpan span = options.span(layer);
    longest_span = std::max(longest_span, span.window > 0 ? span.window + span.sinks : text.size + total);
  }
  const at::Device device = model->compute_options().device();
  std::vector<at::Tensor> pieces;
  for (int64_t first = 0; first < total;) {
    const int64_t past = std::min(text.size, longest_span);
    const int64_t most = std::clamp(kMaxCells / (past + kChunk), kMinChunk, kChunk);
    const int64_t count = std::min(most, total - first);
    at::Tensor chunk = at::empty({1, count}, at::kLong);
    std::copy_n(ids.begin() + first, count, chunk.mutable_data_ptr<int64_t>());
    const at::Tensor hidden = append_chunk(text, chunk.to(device), rotary_length)[0];
    first += count;
    const int64_t wanted = std::min(count, first - (total - num_wanted));
    if (wanted > 0) pieces.push_back(hidden.narrow(0, count - wanted, wanted));
  }
  return at::cat(pieces, 0);
}

void Generator::State::check_tokens(std::span<const int64_t> ids) const {
  const int64_t vocab_size = model->config().vocab_size;
  for (const int64_t id : ids) {
    require<base::DataError>(id >= 0 && id < vocab_size, "token id ", id,
                             " is outside the model's vocabulary; expected 0 to ", vocab_size - 1,
                             "; was the text made with this model's tokenizer?");
  }
}

Generator::Generator(std::unique_ptr<State> state) : state_(std::move(state)) {}

Generator::Generator(const CausalModel& model, const ForwardOptions& options, int64_t batch, int64_t max_rewind) {
  require(batch > 0, "generation with batch ", batch, "; expected at least 1");
  state_ = std::make_unique<State>(model, options, max_rewind);
  for (int64_t row = 0; row < batch; ++row) state_->texts.push_back(state_->empty_text());
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

Generator Generator::fork() const { return Generator(std::make_unique<State>(*state_)); }

at::Tensor Generator::append(const at::Tensor& input_ids) {
  require(input_ids.dim() == 2 && input_ids.scalar_type() == at::kLong && input_ids.numel() > 0, "input_ids has shape ",
          input_ids.sizes(), " and dtype ", input_ids.scalar_type(), "; expected int64 [batch, length], not empty");
  require(input_ids.size(0) == batch(), "append got ", input_ids.size(0), " rows; expected ", batch());
  const at::Tensor ids = input_ids.to(at::kCPU).contiguous();
  const int64_t count = ids.size(1);
  std::vector<std::vector<int64_t>> rows;
  for (int64_t row = 0; row < batch(); ++row) {
    const int64_t* first = ids.const_data_ptr<int64_t>() + row * count;
    rows.emplace_back(first, first + count);
  }
  if (count <= kMaxTogether) return at::stack(append(rows), 0);
  const at::NoGradGuard no_gradient;
  for (const auto& row : rows) state_->check_tokens(row);
  std::vector<at::Tensor> hidden;
  for (int64_t row = 0; row < batch(); ++row) {
    hidden.push_back(state_->append_long(state_->texts[row], rows[row], count));
  }
  return at::stack(hidden, 0);
}

std::vector<at::Tensor> Generator::append(std::span<const std::vector<int64_t>> tokens) {
  const at::NoGradGuard no_gradient;
  require(static_cast<int64_t>(tokens.size()) == batch(), "append got tokens of ", tokens.size(), " texts; expected ",
          batch());
  for (const std::vector<int64_t>& ids : tokens) state_->check_tokens(ids);
  const bool steps_possible = rows_are_independent();
  std::vector<at::Tensor> hidden(tokens.size());
  std::vector<TokenStep::Tokens> together;
  for (size_t row = 0; row < tokens.size(); ++row) {
    const auto count = static_cast<int64_t>(tokens[row].size());
    if (count == 0) continue;
    if (steps_possible && count <= kMaxTogether) {
      // A prompt is rotated as a whole, what follows token by token.
      const bool is_prompt = state_->texts[row].size == 0;
      together.push_back({&state_->texts[row], tokens[row], is_prompt ? count : 0});
    } else {
      hidden[row] = state_->append_long(state_->texts[row], tokens[row], std::min(count, kMaxTogether));
    }
  }
  if (together.empty()) return hidden;
  const at::Tensor all = state_->step.run(together).to(state_->model->compute_options().dtype().toScalarType());
  int64_t first = 0;
  for (size_t row = 0; row < tokens.size(); ++row) {
    const auto count = static_cast<int64_t>(tokens[row].size());
    if (count == 0 || count > kMaxTogether) continue;
    hidden[row] = all.narrow(0, first, count);
    first += count;
  }
  return hidden;
}

at::Tensor Generator::logits(const at::Tensor& hidden) const {
  const at::NoGradGuard no_gradient;
  if (rows_are_independent()) return state_->step.logits(hidden);
  std::vector<at::Tensor> rows;
  for (int64_t row = 0; row < hidden.size(0); ++row) rows.push_back(state_->model->logits(hidden.narrow(0, row, 1)));
  return at::cat(rows, 0);
}

int64_t Generator::batch() const { return static_cast<int64_t>(state_->texts.size()); }

int64_t Generator::size(int64_t row) const { return state_->texts.at(row).size; }

int64_t Generator::rewindable(int64_t row) const {
  const TextState& text = state_->texts.at(row);
  int64_t most = text.size;
  for (const KeyValueCache& cache : text.caches) most = std::min(most, cache.rewindable());
  return most;
}

void Generator::rewind(int64_t row, int64_t num_tokens) {
  const int64_t most = rewindable(row);
  require(num_tokens >= 0 && num_tokens <= most, "rewind by ", num_tokens, " tokens; the text has ", size(row),
          " and can be taken back by at most ", most, " now (max_rewind is ", state_->max_rewind, ")");
  TextState& text = state_->texts[row];
  for (KeyValueCache& cache : text.caches) cache.rewind(num_tokens);
  for (std::optional<RosaState>& rosa_state : text.rosa_states) {
    if (rosa_state) rosa_state->rewind(num_tokens);
  }
  text.size -= num_tokens;
}

bool Generator::rows_are_independent() const { return state_->step.is_possible(); }

size_t Generator::num_bytes() const {
  size_t bytes = 0;
  for (const TextState& text : state_->texts) {
    for (const KeyValueCache& cache : text.caches) {
      bytes += cache.num_bytes();
    }
    for (const std::optional<RosaState>& rosa_state : text.rosa_states) {
      if (rosa_state) bytes += rosa_state->num_bytes();
    }
  }
  return bytes;
}

}  // namespace rosa::models
