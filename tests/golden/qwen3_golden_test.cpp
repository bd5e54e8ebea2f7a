// Qwen3 against transformers: logits, loss, every parameter's gradient and greedy continuations.
// Models, windows and shapes are whatever qwen3.safetensors names.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <regex>

#include "base/safetensors.h"
#include "models/causal_model.h"
#include "models/generate.h"
#include "tests/support/goldens.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

using testing::load_tensor;

constexpr double kLogitsTolerance = 2e-5;
constexpr double kLossTolerance = 1e-5;
constexpr double kGradientTolerance = 5e-5;

// One recorded forward: the folder of the model and the sliding window.
struct Case {
  std::string model;
  int64_t window;
  std::string prefix;  // of its entries
};

std::vector<Case> cases(const base::SafetensorsFile& file) {
  const std::regex pattern(R"(^(.+)\.(window(\d+))\.logits$)");
  std::vector<Case> found;
  for (const auto& [name, view] : file.tensors()) {
    std::smatch match;
    if (std::regex_match(name, match, pattern)) {
      found.push_back({match[1], std::stoll(match[3]), match[1].str() + "." + match[2].str() + "."});
    }
  }
  return found;
}

at::Tensor loss_of(const at::Tensor& logits, const at::Tensor& labels) {
  const int64_t length = logits.size(1);
  const at::Tensor predictions = logits.narrow(1, 0, length - 1).reshape({-1, logits.size(2)});
  return at::cross_entropy_loss(predictions, labels.narrow(1, 1, length - 1).reshape({-1}));
}

// Rows of a greedy entry start with the prompt, which starts the row of input_ids.
int64_t prompt_length(const at::Tensor& greedy, const at::Tensor& input_ids) {
  const int64_t length = std::min(greedy.size(1), input_ids.size(1));
  const at::Tensor same = greedy.narrow(1, 0, length).eq(input_ids.narrow(1, 0, length)).to(at::kLong);
  return at::cumprod(same, 1).sum(1).min().item<int64_t>();
}

TEST(Qwen3Golden, LogitsLossAndGradients) {
  const base::SafetensorsFile file(testing::goldens_folder() / "qwen3.safetensors");
  const std::vector<Case> all = cases(file);
  ASSERT_FALSE(all.empty());
  for (const Case& one : all) {
    SCOPED_TRACE(one.prefix);
    CausalModel model = CausalModel::load(testing::goldens_folder() / one.model);
    for (auto& [name, parameter] : model.parameters()) parameter.requires_grad_(true);
    ForwardOptions options;
    options.sliding_window = one.window;
    const at::Tensor hidden = model.hidden_states(load_tensor(file, one.model + ".input_ids"), options);
    const at::Tensor logits = model.logits(hidden);
    testing::expect_near(logits, load_tensor(file, one.prefix + "logits"), kLogitsTolerance, "logits");
    const at::Tensor loss = loss_of(logits, load_tensor(file, one.model + ".labels"));
    const double expected_loss = load_tensor(file, one.prefix + "loss").item<double>();
    EXPECT_NEAR(loss.item<double>(), expected_loss, kLossTolerance * std::abs(expected_loss));

    const std::string gradients = one.prefix + "grad.";
    if (file.tensors().lower_bound(gradients) == file.tensors().end()) continue;
    if (file.tensors().lower_bound(gradients)->first.compare(0, gradients.size(), gradients) != 0) continue;
    loss.backward();
    for (const auto& [name, parameter] : model.parameters()) {
      testing::expect_close(parameter.grad(), load_tensor(file, gradients + name), kGradientTolerance, name);
    }
  }
}

TEST(Qwen3Golden, GreedyContinuations) {
  const base::SafetensorsFile file(testing::goldens_folder() / "qwen3.safetensors");
  const std::regex pattern(R"(^(.+)\.greedy$)");
  int64_t count = 0;
  for (const auto& [name, view] : file.tensors()) {
    std::smatch match;
    if (!std::regex_match(name, match, pattern)) continue;
    SCOPED_TRACE(name);
    ++count;
    const std::string folder = match[1];
    const at::Tensor expected = load_tensor(file, name);
    const at::Tensor input_ids = load_tensor(file, folder + ".input_ids");
    const int64_t prompt = prompt_length(expected, input_ids);
    ASSERT_GT(prompt, 0);
    const CausalModel model = CausalModel::load(testing::goldens_folder() / folder);
    GenerateOptions options;
    options.max_new_tokens = expected.size(1) - prompt;
    EXPECT_TRUE(generate(model, expected.narrow(1, 0, prompt), {}, options).equal(expected));
  }
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace rosa::models
