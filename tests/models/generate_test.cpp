// Incremental generation against running the whole text again for every token.
#include "models/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/models/tiny_model.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

constexpr int64_t kWindow = 7;

class Generate : public ::testing::TestWithParam<bool> {
 protected:
  ForwardOptions options() const {
    ForwardOptions options;
    if (!GetParam()) return options;
    options.sliding_window = kWindow;
    options.adapters = &adapters_;
    options.executor = &executor_;
    return options;
  }

  CausalModel model_ = CausalModel::random(tiny_config(), 11);
  AdapterSet adapters_{lively_adapter_config(), tiny_config(), 12};
  mutable HostExecutor executor_{2};
};

// Pieces of every kind: a long first one, single tokens, and several at once in the middle.
TEST_P(Generate, HiddenStatesEqualTheWholeForward) {
  const at::NoGradGuard no_gradient;
  for (const std::vector<int64_t>& pieces :
       {std::vector<int64_t>{20, 1, 1, 1, 5, 1, 30, 1}, std::vector<int64_t>{1, 1, 3, 1, 1, 1, 1, 1, 1, 1, 1, 12, 1}}) {
    Generator generator(model_, options(), 3);
    int64_t length = 0;
    for (const int64_t piece : pieces) length += piece;
    const at::Tensor ids = random_ids(3, length, model_.config().vocab_size);
    const at::Tensor whole = model_.hidden_states(ids, options());
    int64_t first = 0;
    for (const int64_t piece : pieces) {
      const at::Tensor hidden = generator.append(ids.narrow(1, first, piece));
      testing::expect_close(hidden, whole.narrow(1, first, piece), 2e-5, base::concat("from ", first));
      first += piece;
    }
    EXPECT_EQ(generator.size(), length);
  }
}

TEST_P(Generate, GreedyTokensEqualFullRecomputation) {
  const at::NoGradGuard no_gradient;
  const at::Tensor prompt = random_ids(3, 13, model_.config().vocab_size);
  GenerateOptions generate_options;
  generate_options.max_new_tokens = 40;
  at::Tensor expected = prompt;
  for (int64_t step = 0; step < generate_options.max_new_tokens; ++step) {
    const at::Tensor hidden = model_.hidden_states(expected, options());
    const at::Tensor next = model_.logits(hidden.select(1, hidden.size(1) - 1)).argmax(1, true);
    expected = at::cat({expected, next}, 1);
  }
  const at::Tensor actual = generate(model_, prompt, options(), generate_options);
  EXPECT_TRUE(actual.equal(expected)) << actual << expected;
}

TEST_P(Generate, SampledTokensAreAFunctionOfTheSeed) {
  const at::Tensor prompt = random_ids(2, 5, model_.config().vocab_size);
  GenerateOptions generate_options;
  generate_options.max_new_tokens = 20;
  generate_options.sample = true;
  generate_options.top_k = 20;
  generate_options.top_p = 0.95;
  generate_options.seed = 4;
  const at::Tensor first = generate(model_, prompt, options(), generate_options);
  EXPECT_TRUE(first.equal(generate(model_, prompt, options(), generate_options)));
  generate_options.seed = 5;
  EXPECT_FALSE(first.equal(generate(model_, prompt, options(), generate_options)));
}

// Biases and norms that matter: fresh ones are 0 and 1.
CausalModel model_of(ModelFamily family, const RopeScaling& scaling) {
  ModelConfig config = tiny_config();
  config.family = family;
  config.max_position_embeddings = 24;
  config.rope_scaling = scaling;
  CausalModel model = CausalModel::random(config, 11);
  for (auto& [name, weight] : model.parameters()) {
    if (weight.dim() == 1) weight.add_(at::randn_like(weight), 0.2);
  }
  return model;
}

// One by one, and a prompt first: the positions are those of the whole text, and what the family adds is there.
TEST(GenerateFamilies, HiddenStatesEqualTheWholeForward) {
  const at::NoGradGuard no_gradient;
  RopeScaling linear{.type = RopeType::linear, .factor = 3}, dynamic{.type = RopeType::dynamic, .factor = 2};
  RopeScaling yarn{.type = RopeType::yarn, .factor = 4, .original_max_position_embeddings = 16};
  RopeScaling llama3{.type = RopeType::llama3, .factor = 8, .original_max_position_embeddings = 16};
  const at::Tensor ids = random_ids(2, 60, 61);
  at::Tensor last;
  for (const ModelFamily family : kFamilies) {
    for (const RopeScaling& scaling : {RopeScaling{}, linear, dynamic, yarn, llama3}) {
      const std::string name = base::concat(traits(family).model_type, ", rotation ", static_cast<int>(scaling.type));
      const CausalModel model = model_of(family, scaling);
      Generator generator(model, {}, 2);
      const at::Tensor prompt = generator.append(ids.narrow(1, 0, 40));
      testing::expect_close(prompt, model.hidden_states(ids.narrow(1, 0, 40)), 2e-5, name);
      for (int64_t i = 40; i < 60; ++i) last = generator.append(ids.narrow(1, i, 1));
      if (scaling.type == RopeType::dynamic) continue;  // each length turns all its positions by other angles
      testing::expect_close(last, model.hidden_states(ids).narrow(1, 59, 1), 2e-5, name);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(TeacherAndStudent, Generate, ::testing::Bool());

TEST(ChooseToken, DrawsFromWhatTopKAndTopPLeave) {
  const at::Tensor logits = at::log(at::tensor({0.1, 0.5, 0.25, 0.15}, at::kDouble));
  const auto counts = [&](const GenerateOptions& options) {
    std::vector<int> count(4);
    for (int64_t position = 0; position < 2000; ++position) {
      ++count[choose_token(logits, options, position)];
    }
    return count;
  };
  GenerateOptions options;
  EXPECT_THAT(counts(options), ::testing::ElementsAre(0, 2000, 0, 0));
  options.sample = true;
  const std::vector<int> all = counts(options);
  EXPECT_NEAR(all[0], 200, 60);
  EXPECT_NEAR(all[1], 1000, 100);
  EXPECT_NEAR(all[2], 500, 90);
  options.top_k = 2;
  EXPECT_THAT(counts(options), ::testing::ElementsAre(0, ::testing::Gt(1200), ::testing::Gt(500), 0));
  options.top_k = 0;
  options.top_p = 0.76;
  EXPECT_THAT(counts(options), ::testing::ElementsAre(0, ::testing::Gt(900), ::testing::Gt(400), ::testing::Gt(150)));
  options.top_p = 0.4;
  EXPECT_THAT(counts(options), ::testing::ElementsAre(0, 2000, 0, 0));
  options.top_p = 1;
  options.temperature = 0.01;
  EXPECT_THAT(counts(options), ::testing::ElementsAre(0, 2000, 0, 0));
}

TEST(ChooseToken, LogitsThatAreNotNumbersAreRefused) {
  at::Tensor logits = at::zeros({4});
  logits[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(choose_token(logits, {}, 0), base::NumericError);
  EXPECT_THROW(choose_token(at::full({4}, -std::numeric_limits<double>::infinity()), {}, 0), base::NumericError);
}

TEST(GenerateTexts, EndAtAStopToken) {
  const CausalModel model = CausalModel::random(tiny_config(), 11);
  const at::Tensor prompt = random_ids(2, 6, model.config().vocab_size);
  GenerateOptions options;
  options.max_new_tokens = 30;
  const at::Tensor free = generate(model, prompt, {}, options);
  options.stop_tokens = {free[0][8].item<int64_t>(), free[1][10].item<int64_t>()};
  const at::Tensor stopped = generate(model, prompt, {}, options);
  ASSERT_LE(stopped.size(1), 11);
  EXPECT_EQ(stopped[0][stopped.size(1) - 1].item<int64_t>(), stopped[0][8].item<int64_t>());
}

TEST(GenerateTexts, WrongOptionsAreRefused) {
  const CausalModel model = CausalModel::random(tiny_config(), 11);
  const at::Tensor prompt = random_ids(1, 3, 61);
  GenerateOptions options;
  options.temperature = 0;
  EXPECT_THROW(generate(model, prompt, {}, options), base::ArgumentError);
  options = {};
  options.top_p = 0;
  EXPECT_THROW(generate(model, prompt, {}, options), base::ArgumentError);
  EXPECT_THROW(generate(model, at::zeros({1, 0}, at::kLong), {}, {}), base::ArgumentError);
  ForwardOptions forward;
  forward.operator_options.control = OperatorControl::zeroed;
  EXPECT_THROW(generate(model, prompt, forward, {}), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::models
