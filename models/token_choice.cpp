#include "models/token_choice.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/random.h"

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
  const at::Tensor probabilities = at::softmax(sorted.narrow(0, 0, kept), 0).contiguous();
  const at::Tensor sums = at::cumsum(probabilities, 0).contiguous();
  const double* first = sums.const_data_ptr<double>();
  // The fewest tokens whose probabilities sum to top_p.
  if (options.top_p < 1) {
    kept = std::min<int64_t>(kept, std::lower_bound(first, first + kept, options.top_p) - first + 1);
  }
  if (options.min_p > 0) {
    const double* likely = probabilities.const_data_ptr<double>();
    const double least = options.min_p * likely[0];
    kept = std::partition_point(likely, likely + kept, [&](double each) { return each >= least; }) - likely;
  }
  const double target = uniform * first[kept - 1];
  const int64_t index = std::min<int64_t>(std::upper_bound(first, first + kept, target) - first, kept - 1);
  return order[index].item<int64_t>();
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
  visitor.field("min_p", options.min_p, Role::free, "Draw from tokens at least this likely, the likeliest being 1.",
                {0, 1});
  visitor.field("repetition_penalty", options.repetition_penalty, Role::free,
                "Divides positive logits of tokens that the text holds, and multiplies negative ones; 1: none.",
                {1e-9, 1e9});
  visitor.field("seed", options.seed, Role::free, "Of the draws.", {0, std::numeric_limits<int64_t>::max()});
  visitor.field("stop_tokens", options.stop_tokens, Role::free, "Token ids that end a text.", {0, int64_t{1} << 40});
}

void check(const GenerateOptions& options) {
  require(options.max_new_tokens >= 0, "max_new_tokens is ", options.max_new_tokens, "; expected 0 or more");
  require(std::isfinite(options.temperature) && options.temperature > 0, "temperature is ", options.temperature,
          "; expected a positive number (greedy: sample false)");
  require(options.top_k >= 0, "top_k is ", options.top_k, "; expected 0 (all) or more");
  require(options.top_p > 0 && options.top_p <= 1, "top_p is ", options.top_p, "; expected a number in (0, 1]");
  require(options.min_p >= 0 && options.min_p <= 1, "min_p is ", options.min_p, "; expected a number in [0, 1]");
  require(std::isfinite(options.repetition_penalty) && options.repetition_penalty > 0, "repetition_penalty is ",
          options.repetition_penalty, "; expected a positive number (1: none)");
}

int64_t choose_token(const at::Tensor& logits, const GenerateOptions& options, int64_t position,
                     const std::set<int64_t>& seen) {
  at::Tensor row = logits.detach().to(at::kCPU).contiguous();
  const bool is_penalised = options.repetition_penalty != 1 && !seen.empty();
  if (row.scalar_type() != at::kFloat || options.sample || is_penalised) {
    row = row.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  }
  if (is_penalised) {
    double* values = row.mutable_data_ptr<double>();
    for (const int64_t token : seen) {
      values[token] =
          values[token] > 0 ? values[token] / options.repetition_penalty : values[token] * options.repetition_penalty;
    }
  }
  const auto [greatest, index] = row.max(0);  // a NaN is its row's maximum
  require<base::NumericError>(std::isfinite(greatest.item<double>()), "logits of token ", position,
                              " hold a NaN or nothing finite; are the weights damaged?");
  if (!options.sample) return index.item<int64_t>();
  return draw(row, options,
              base::random_uniform(
                  {.seed = static_cast<uint64_t>(options.seed), .step = static_cast<uint64_t>(position), .sample = 0}));
}

}  // namespace rosa::models
