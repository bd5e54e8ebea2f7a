// Losses on codes and gradient dropout: against autograd on the formulas, and what they leave alone.
#include "models/code_training.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/adapter.h"
#include "tests/models/tiny_model.h"
#include "tests/support/tensors.h"

namespace rosa::models {
namespace {

using rosa::testing::expect_close;

CodeLogits random_logits(at::ScalarType dtype = at::kDouble) {
  at::manual_seed(3);
  return {at::randn({2, 4, 9, 3}, dtype) + 0.3, at::randn({2, 2, 9, 3}, dtype) - 0.2, at::randn({2, 2, 9, 5}, dtype)};
}

CodeLogits leaves_of(const CodeLogits& logits) {
  return {logits.query.clone().requires_grad_(), logits.key.clone().requires_grad_(),
          logits.value.clone().requires_grad_()};
}

std::vector<at::Tensor> gradients(const at::Tensor& loss, const CodeLogits& leaves) {
  return torch::autograd::grad({loss}, {leaves.query, leaves.key, leaves.value}, {}, {}, false, true);
}

// The formulas as they stand.
at::Tensor balance(const CodeLogits& logits, double tau) {
  const auto term = [tau](const at::Tensor& x) { return (2 * at::sigmoid(x / tau) - 1).mean({0, 2}).pow(2).mean(); };
  return (term(logits.query) + term(logits.key) + term(logits.value)) / 3;
}
at::Tensor consistency(const CodeLogits& logits, double tau) {
  const at::Tensor key = logits.key.repeat_interleave(logits.query.size(1) / logits.key.size(1), 1);
  const at::Tensor code = (logits.query + key).sign().detach();
  const auto soft = [tau](const at::Tensor& x) { return 2 * at::sigmoid(x / tau) - 1; };
  return ((code - soft(logits.query)).pow(2) + (code - soft(key)).pow(2)).mean() / 2;
}

TEST(CodeLosses, ValuesAndGradientsAreThoseOfTheFormulas) {
  constexpr double kTau = 0.7;
  const CodeLogits logits = random_logits(), leaves = leaves_of(logits);
  const at::Tensor values = code_losses(logits, kTau);
  EXPECT_NEAR(values[0].item<double>(), balance(logits, kTau).item<double>(), 1e-12);
  EXPECT_NEAR(values[1].item<double>(), consistency(logits, kTau).item<double>(), 1e-12);
  const auto upstream = [](const CodeLogits& of) { return of.query.cos().sum() + of.key.sum() + (2 * of.value).sum(); };
  for (const CodeLosses weights : {CodeLosses{2.5, 0.0}, CodeLosses{0.0, 1.5}, CodeLosses{2.5, 1.5}}) {
    CodeTraining training;
    training.weights = weights;
    // A third of the layers' mean.
    const auto actual = gradients(upstream(train_codes(leaves, training, {}, kTau, 0, 3)), leaves);
    const at::Tensor whole = upstream(leaves) + weights.balance / 3 * balance(leaves, kTau) +
                             weights.consistency / 3 * consistency(leaves, kTau);
    const auto expected = gradients(whole, leaves);
    for (size_t i = 0; i < 3; ++i) expect_close(actual[i], expected[i], 1e-12);
  }
}

TEST(CodeLosses, KnowBalancedConstantAndEqualCodes) {
  const at::Tensor alternating = at::arange(8).remainder(2).mul(2).sub(1).to(at::kDouble).view({1, 1, 8, 1}) * 50;
  const at::Tensor constant = at::full({1, 1, 8, 1}, -50.0, at::kDouble);
  const auto of = [](const at::Tensor& query, const at::Tensor& key) {
    const at::Tensor values = code_losses({query, key, query}, 1);
    return std::pair(values[0].item<double>(), values[1].item<double>());
  };
  EXPECT_NEAR(of(alternating, alternating).first, 0, 1e-9);
  EXPECT_NEAR(of(alternating, alternating).second, 0, 1e-9);
  EXPECT_NEAR(of(constant, constant).first, 1, 1e-9);
  // At half of the positions query and key differ; there one of them is 2 off.
  EXPECT_NEAR(of(alternating, constant).second, 1, 1e-9);
}

TEST(GradientDropout, FactorsBelongToSampleAndPosition) {
  const at::Tensor key = at::zeros({3, 4, 50, 2});
  CodeTraining training;
  training.seed = 7;
  training.step = 11;
  training.first_sample = 20;
  for (const DropoutUnit unit : {DropoutUnit::head, DropoutUnit::position}) {
    const GradientDropout dropout{0.25, unit};
    const at::Tensor all = dropout_factors(dropout, training, 1, key);
    EXPECT_EQ(all.sizes(), (std::vector<int64_t>{3, unit == DropoutUnit::head ? 4 : 1, 50, 1}));
    const float kept = 1 / (1 - 0.25F);
    EXPECT_TRUE(all.eq(0).logical_or(all.eq(kept)).all().item<bool>());
    // Not of the batch that a sample is in, nor of the length.
    CodeTraining second = training;
    second.first_sample = 21;
    EXPECT_TRUE(dropout_factors(dropout, second, 1, key.narrow(0, 0, 1)).equal(all.narrow(0, 1, 1)));
    EXPECT_TRUE(dropout_factors(dropout, training, 1, key.narrow(2, 0, 33)).equal(all.narrow(2, 0, 33)));
    EXPECT_FALSE(dropout_factors(dropout, training, 2, key).equal(all));
    for (const auto change : {&CodeTraining::step, &CodeTraining::first_sample}) {
      CodeTraining other = training;
      other.*change += 1;
      EXPECT_FALSE(dropout_factors(dropout, other, 1, key).equal(all));
    }
    at::Tensor sum = at::zeros_like(all);
    constexpr int kSteps = 2000;
    for (training.step = 0; training.step < kSteps; ++training.step) sum += dropout_factors(dropout, training, 1, key);
    training.step = 11;
    // A factor's deviation is sqrt(1 / 3).
    EXPECT_LT((sum / kSteps - 1).abs().max().item<double>(), 6 * std::sqrt(1.0 / 3 / kSteps));
  }
}

TEST(GradientDropout, ComesBeforeTheLossesAndLeavesValuesAlone) {
  const CodeLogits logits = random_logits(), leaves = leaves_of(logits);
  CodeTraining training;
  training.weights = {2.0, 1.0};
  const CodeLogits added = code_loss_gradients(logits, 1, training.weights);
  for (const DropoutUnit unit : {DropoutUnit::head, DropoutUnit::position}) {
    const GradientDropout dropout{0.5, unit};
    const CodeLogits same = train_codes(leaves, training, dropout, 1, 0, 1);
    const auto actual = gradients(same.query.sum() + same.key.sum() + same.value.sum(), leaves);
    const at::Tensor factors = dropout_factors(dropout, training, 0, logits.key);
    const at::Tensor of_query = unit == DropoutUnit::head ? factors.repeat_interleave(2, 1) : factors;
    EXPECT_GT(factors.eq(0).sum().item<int64_t>(), 0);
    expect_close(actual[0], of_query + added.query, 1e-6);
    expect_close(actual[1], factors + added.key, 1e-6);
    expect_close(actual[2], 1 + added.value, 1e-6);
  }
}

TEST(CodeTraining, WithoutAnyTheTensorsAreTheSame) {
  const CodeLogits leaves = leaves_of(random_logits());
  const CodeLogits same = train_codes(leaves, {}, {}, 1, 0, 1);
  EXPECT_TRUE(same.query.is_same(leaves.query) && same.key.is_same(leaves.key) && same.value.is_same(leaves.value));
}

// Through an adapter: queries and keys learn otherwise, the forward and everything else stay bit for bit.
TEST(CodeTraining, ChangesOnlyWhatQueriesAndKeysLearn) {
  AdapterConfig config = plain_adapter_config();
  config.num_heads = 4;
  config.query_key_bits = config.value_bits = 4;
  config.zero_output_start = false;
  HostExecutor executor(1);
  at::manual_seed(5);
  const at::Tensor normed = at::randn({2, 30, 48});
  const auto run = [&](double share, bool trains) {
    config.gradient_dropout.share = share;
    const AdapterSet adapters(config, tiny_config(), 3);
    AdapterCall call;
    call.executor = &executor;
    call.options.training = trains;
    call.options = adapters.operator_options(call.options, 0);
    std::map<std::string, at::Tensor> result{{"output", adapters.forward(1, normed, call)}};
    if (trains) result.at("output").square().sum().backward();
    for (const auto& [name, tensor] : adapters.parameters()) {
      if (tensor.grad().defined()) result[name] = tensor.grad();
    }
    return result;
  };
  const auto plain = run(0, true), dropped = run(0.5, true);
  ASSERT_EQ(plain.size(), dropped.size());
  int num_changed = 0;
  for (const auto& [name, tensor] : plain) {
    const bool learns = name.find("q_proj") != std::string::npos || name.find("k_proj") != std::string::npos;
    EXPECT_EQ(dropped.at(name).equal(tensor), !learns) << name;
    num_changed += learns ? 1 : 0;
  }
  EXPECT_EQ(num_changed, 2);
  EXPECT_TRUE(run(0.5, false).at("output").equal(run(0, false).at("output")));
}

}  // namespace
}  // namespace rosa::models
