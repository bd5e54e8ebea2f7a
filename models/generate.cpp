#include "models/generate.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "models/adapter.h"
#include "models/key_value_cache.h"

namespace rosa::models {
namespace {

using base::require;
using base::Role;

// The index drawn from one row of logits by its uniform number in [0,1).
int64_t draw(const at::Tensor& row, const GenerateOptions& options, double uniform) {
  // The greatest becomes 0, whatever it is divided by: a tiny temperature takes it, and makes no infinity less
  // infinity.
  const auto [sorted, order] =
      at::sort((row - row.max()) / options.temperature, /*stable=*/true, /*dim=*/0, /*descending=*/true);
  int64_t kept = row.size(0);
  if (options.top_k > 0) kept = std::min(kept, options.top_k);
  const at::Tensor sums = at::cumsum(at::softmax(sorted.narrow(0, 0, kept), 0), 0).contiguous();
  const double* first = sums.const_data_ptr<double>();
  // The fewest tokens whose probabilities sum to top_p.
  if (options.top_p < 1) {
    kept = std::min<int64_t>(kept, std::lower_bound(first, first + kept, options.top_p) - first + 1);
  }
  const double target = uniform * first[kept - 1];
  const int64_t index = std::min<int64_t>(std::upper_bound(first, first + kept, target) - first, kept - 1);
  return order[index].item<int64_t>();
}

void check_options(const GenerateOptions& options) {
  require(options.max_new_tokens >= 0, "max_new_tokens is ", options.max_new_tokens, "; expected 0 or more");
  require(std::isfinite(options.temperature) && options.temperature > 0, "temperature is ", options.temperature,
          "; expected a positive number (greedy: sample false)");
  require(options.top_k >= 0, "top_k is ", options.top_k, "; expected 0 (all) or more");
  require(options.top_p > 0 && options.top_p <= 1, "top_p is ", options.top_p, "; expected a number in (0, 1]");
}

}  // namespace

void describe(base::FieldVisitor& visitor, GenerateOptions& options) {
  visitor.field("max_new_tokens", options.max_new_tokens, Role::free, "Tokens to generate.", {0, int64_t{1} << 40});
  visitor.field("sample", options.sample, Role::free, "Whether to draw tokens; otherwise the likeliest is taken.");
  visitor.field("temperature", options.temperature, Role::free, "Divides the logits before a draw.", {1e-300, 1e300});
  visitor.field("top_k", options.top_k, Role::free, "Draw from this many likeliest tokens; 0: all.",
                {0, int64_t{1} << 31});
  visitor.field("top_p", options.top_p, Role::free, "Draw from the fewest tokens whose probabilities sum to this.",
                {1e-9, 1});
  visitor.field("seed", options.seed, Role::free, "Of the draws.", {0, std::numeric_limits<int64_t>::max()});
  visitor.field("stop_tokens", options.stop_tokens, Role::free, "Token ids that end a text.", {0, int64_t{1} << 40});
}

struct Generator::State {
  const Qwen3& model;
  const AdapterSet* adapters;
  HostExecutor* executor;
  int64_t batch;
  int64_t size = 0;
  std::vector<KeyValueCache> caches;
  std::vector<std::optional<RosaState>> rosa_states;
  LayerContext context;
};

Generator::Generator(const Qwen3& model, const ForwardOptions& options, int64_t batch) {
  require(batch > 0, "generation with batch ", batch, "; expected at least 1");
  require(!options.documents.defined(), "generation takes no documents: each row is one text");
  require(options.operator_options.control == OperatorControl::none, "generation takes no operator control");
  require(options.adapters == nullptr || options.executor != nullptr, "generation with adapters needs an executor");
  state_ = std::make_unique<State>(State{model, options.adapters, options.executor, batch, 0, {}, {}, {}});
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    state_->caches.emplace_back(options.sliding_window);
    state_->rosa_states.emplace_back();
    if (options.adapters != nullptr && options.adapters->has_layer(layer)) {
      state_->rosa_states.back() = options.adapters->make_state(batch);
    }
  }
  State* state = state_.get();
  state->context.attention = [state](int64_t layer, const at::Tensor& query, const at::Tensor& key,
                                     const at::Tensor& value) {
    return state->caches[layer].attend(query, key, value);
  };
  state->context.begin_adapter = [state](int64_t layer, const at::Tensor& normed) {
    if (!state->rosa_states[layer].has_value()) return FinishAdapter();
    return FinishAdapter([state, layer, normed] {
      return state->adapters->append(layer, normed, *state->rosa_states[layer], *state->executor);
    });
  };
}

Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

at::Tensor Generator::append(const at::Tensor& input_ids) {
  const at::NoGradGuard no_gradient;
  at::Tensor hidden = state_->model.embed(input_ids);
  require(input_ids.size(0) == state_->batch, "append got ", input_ids.size(0), " rows; expected ", state_->batch);
  const int64_t count = input_ids.size(1);
  state_->model.set_rotary_tables(at::arange(state_->size, state_->size + count, input_ids.options()).unsqueeze(0),
                                  state_->context);
  for (int64_t layer = 0; layer < state_->model.config().num_hidden_layers; ++layer) {
    hidden = state_->model.layer(layer, hidden, state_->context);
  }
  state_->size += count;
  return state_->model.final_norm(hidden);
}

int64_t Generator::size() const { return state_->size; }

at::Tensor choose_tokens(const at::Tensor& logits, const GenerateOptions& options, int64_t position) {
  const at::Tensor rows = logits.detach().to(at::kCPU, at::kDouble);
  const at::Tensor finite = at::isfinite(std::get<0>(rows.max(1)));  // a NaN is its row's maximum
  require<base::NumericError>(finite.all().item<bool>(), "logits of token ", position,
                              " hold a NaN or nothing finite; are the weights damaged?");
  if (!options.sample) return rows.argmax(1);
  at::Tensor chosen = at::empty({rows.size(0)}, at::kLong);
  for (int64_t row = 0; row < rows.size(0); ++row) {
    const double uniform = base::random_uniform({.seed = static_cast<uint64_t>(options.seed),
                                                 .step = static_cast<uint64_t>(position),
                                                 .sample = static_cast<uint64_t>(row)});
    chosen[row] = draw(rows[row], options, uniform);
  }
  return chosen;
}

at::Tensor generate(const Qwen3& model, const at::Tensor& prompt, const ForwardOptions& options,
                    const GenerateOptions& generate_options, const std::function<void(const at::Tensor&)>& on_tokens) {
  check_options(generate_options);
  require(prompt.dim() == 2 && prompt.size(1) > 0, "prompt has shape ", prompt.sizes(),
          "; expected [batch, length], not empty");
  const at::NoGradGuard no_gradient;
  Generator generator(model, options, prompt.size(0));
  std::vector<at::Tensor> pieces = {prompt};
  at::Tensor next = prompt;
  at::Tensor ended = at::zeros({prompt.size(0)}, at::kBool);
  at::Tensor final_token = at::zeros({prompt.size(0)}, at::kLong);
  for (int64_t step = 0; step < generate_options.max_new_tokens; ++step) {
    const at::Tensor hidden = generator.append(next);
    const at::Tensor last = hidden.select(1, hidden.size(1) - 1);
    at::Tensor tokens = choose_tokens(model.logits(last), generate_options, generator.size());
    tokens = at::where(ended, final_token, tokens);
    for (const int64_t stop : generate_options.stop_tokens) ended = ended.logical_or(tokens.eq(stop));
    final_token = tokens;
    if (on_tokens) on_tokens(tokens);
    next = tokens.unsqueeze(1).to(prompt.device());
    pieces.push_back(next);
    if (ended.all().item<bool>()) break;
  }
  return at::cat(pieces, 1);
}

}  // namespace rosa::models
