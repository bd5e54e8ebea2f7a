// The estimators through the operator: flips against brute force, the control, threads, and what is refused.
#include "rosa/operator/qkv_estimator.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <set>

#include "base/error.h"
#include "rosa/kernels/local_counterfactual.h"
#include "tests/rosa/operator/inputs.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using testing::expect_close;
using ::testing::HasSubstr;
using testing::is_equal;
using testing::make_input;
using testing::Sizes;

OperatorOptions options_of(const std::string& estimator) {
  OperatorOptions options;
  options.estimator = &find_qkv_estimator(estimator);
  options.sufa_head_dim = 8;
  options.training = true;
  return options;
}

at::Tensor random_like_output(const OperatorInput& input) {
  return at::randn({input.query.size(0), input.query.size(1), input.query.size(2), input.value.size(3)},
                   input.query.options());
}

// Through the operator and autograd.
std::array<at::Tensor, 3> gradients_of(const OperatorInput& input, const OperatorOptions& options,
                                       const at::Tensor& upstream) {
  HostExecutor executor(1);
  OperatorInput leaves = input;
  for (at::Tensor* tensor : {&leaves.query, &leaves.key, &leaves.value}) *tensor = tensor->detach().requires_grad_();
  const OperatorOutput output = rosa_operator(leaves, options, executor);
  const auto gradients = torch::autograd::grad({output.bits}, {leaves.query, leaves.key, leaves.value}, {upstream});
  return {gradients[0], gradients[1], gradients[2]};
}

// One evaluation a bit: d loss / d logit = (loss with the bit 1 - loss with the bit 0) * derivative of the soft bit.
std::array<at::Tensor, 3> flips_by_brute_force(const OperatorInput& input, OperatorOptions options,
                                               const at::Tensor& upstream) {
  HostExecutor executor(1);
  options.training = false;
  const auto loss = [&](const OperatorInput& changed) {
    return (rosa_operator(changed, options, executor).bits.to(at::kDouble) * upstream).sum().item<double>();
  };
  std::array<at::Tensor, 3> gradients;
  for (size_t i = 0; i < 3; ++i) {
    OperatorInput changed = input;
    at::Tensor& logits = i == 0 ? changed.query : i == 1 ? changed.key : changed.value;
    logits = logits.contiguous().clone();
    gradients[i] = at::zeros(logits.sizes(), at::kDouble);
    const at::Tensor flat = logits.view(-1), result = gradients[i].view(-1);
    for (int64_t n = 0; n < flat.numel(); ++n) {
      const double x = flat[n].item<double>(), scaled = x / options.bits_tau, p = 1 / (1 + std::exp(-scaled));
      flat[n] = 1;
      double effect = loss(changed);
      flat[n] = -1;
      effect -= loss(changed);
      flat[n] = x;
      const double derivative =
          options.flip_scale == FlipScale::sigmoid ? p * (1 - p) : 0.5 / std::pow(1 + std::abs(scaled), 2);
      result[n] = effect * derivative / options.bits_tau;
    }
  }
  return gradients;
}

TEST(QkvEstimators, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const QkvEstimator* estimator : qkv_estimators()) {
    EXPECT_TRUE(names.insert(estimator->name()).second);
    EXPECT_EQ(&find_qkv_estimator(estimator->name()), estimator);
  }
  EXPECT_EQ(OperatorOptions().estimator, &find_qkv_estimator("sufa"));
  EXPECT_THROW(find_qkv_estimator("guess"), base::ConfigError);
}

TEST(QkvEstimators, NoneGivesNoGradient) {
  at::manual_seed(1);
  const OperatorInput input = make_input("random", {}, at::kFloat, true);
  const at::Tensor upstream = random_like_output(input);
  OperatorOptions options = options_of("none");
  for (const at::Tensor& gradient : gradients_of(input, options, upstream)) {
    EXPECT_EQ(gradient.abs().max().item<float>(), 0);
  }
  options.exact_value_gradient = true;
  const auto gradients = gradients_of(input, options, upstream);
  EXPECT_EQ(gradients[0].abs().max().item<float>() + gradients[1].abs().max().item<float>(), 0);
  OperatorOptions proxy = options_of("sufa");
  proxy.exact_value_gradient = true;
  EXPECT_GT(gradients[2].abs().max().item<float>(), 0);
  EXPECT_TRUE(is_equal(gradients[2], gradients_of(input, proxy, upstream)[2]));
}

TEST(BitFlip, EqualsBruteForce) {
  at::manual_seed(2);
  for (const Sizes& sizes : {Sizes{2, 2, 2, 14, 2, 3}, Sizes{1, 4, 2, 12, 1, 2}, Sizes{1, 3, 1, 9, 3, 1}}) {
    for (const char* kind : {"random", "periodic", "constant"}) {
      for (const bool tied : {false, true}) {
        for (const FlipScale scale : {FlipScale::softsign, FlipScale::sigmoid}) {
          SCOPED_TRACE(kind);
          const OperatorInput input = make_input(kind, sizes, at::kDouble, tied);
          const at::Tensor upstream = random_like_output(input);
          OperatorOptions options = options_of("bit_flip");
          options.flip_scale = scale;
          options.bits_tau = 0.7;
          const auto expected = flips_by_brute_force(input, options, upstream);
          const auto actual = gradients_of(input, options, upstream);
          for (size_t i = 0; i < 3; ++i) expect_close(actual[i], expected[i], 1e-6);
        }
      }
    }
  }
}

// The same with both bits changed at once; either gets half of it.
TEST(TiedFlip, EqualsBruteForce) {
  at::manual_seed(8);
  HostExecutor executor(1);
  for (const char* kind : {"random", "periodic", "constant"}) {
    SCOPED_TRACE(kind);
    OperatorInput input = make_input(kind, {2, 2, 2, 21, 2, 3}, at::kDouble, true);
    input.documents = testing::documents_of(2, {1, 12, 8});
    const at::Tensor upstream = random_like_output(input);
    const OperatorOptions options = options_of("tied_flip");
    const auto actual = gradients_of(input, options, upstream);
    OperatorOptions evaluation = options;
    evaluation.training = false;
    OperatorInput changed = input;
    changed.query = changed.key = input.query.contiguous().clone();
    const at::Tensor flat = changed.query.view(-1), expected = at::zeros_like(flat);
    const auto loss = [&] {
      return (rosa_operator(changed, evaluation, executor).bits.to(at::kDouble) * upstream).sum().item<double>();
    };
    for (int64_t n = 0; n < flat.numel(); ++n) {
      const double x = flat[n].item<double>();
      flat[n] = 1;
      double effect = loss();
      flat[n] = -1;
      effect -= loss();
      flat[n] = x;
      expected[n] = effect / 2 * 0.5 / std::pow(1 + std::abs(x), 2);
    }
    EXPECT_GT(expected.abs().max().item<double>(), 0);
    expect_close(actual[0].reshape(-1), expected, 1e-6);
    EXPECT_TRUE(is_equal(actual[1], actual[0]));
    EXPECT_TRUE(is_equal(actual[2], gradients_of(input, options_of("bit_flip"), upstream)[2]));
  }
}

TEST(BitFlip, EachDocumentAlone) {
  at::manual_seed(3);
  OperatorInput input = make_input("random", {2, 4, 2, 21, 2, 2}, at::kDouble, true);
  input.documents = testing::documents_of(2, {1, 12, 8});
  const at::Tensor upstream = random_like_output(input);
  const OperatorOptions options = options_of("bit_flip");
  const auto expected = flips_by_brute_force(input, options, upstream);
  const auto actual = gradients_of(input, options, upstream);
  for (size_t i = 0; i < 3; ++i) expect_close(actual[i], expected[i], 1e-6);
}

TEST(BitFlip, AnyNumberOfThreadsGivesTheSameBits) {
  at::manual_seed(4);
  const OperatorInput input = make_input("random", {3, 4, 2, 60, 4, 4}, at::kFloat, true);
  const at::Tensor upstream = random_like_output(input);
  const OperatorOptions options = options_of("bit_flip");
  at::set_num_threads(1);
  const auto expected = gradients_of(input, options, upstream);
  EXPECT_GT(expected[1].abs().max().item<float>(), 0);
  for (const int threads : {2, 5}) {
    at::set_num_threads(threads);
    const auto actual = gradients_of(input, options, upstream);
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(is_equal(actual[i], expected[i]));
  }
  at::set_num_threads(1);
}

// Head by head through the kernel, whose own test has the definition; documents, groups and scales are the estimator's.
TEST(LocalCounterfactual, IsTheKernelOfEachHeadAndDocument) {
  at::manual_seed(7);
  const std::vector<int64_t> lengths{1, 20, 19};
  OperatorInput input = make_input("random", {2, 4, 2, 40, 2, 3}, at::kDouble, true);
  input.documents = testing::documents_of(2, lengths);
  const at::Tensor upstream = random_like_output(input).to(at::kFloat).to(at::kDouble);
  const OperatorOptions options = options_of("local_counterfactual");
  const auto actual = gradients_of(input, options, upstream);
  at::Tensor query_effects = at::zeros_like(input.query), key_effects = at::zeros_like(input.key);
  const auto symbols_of = [](const at::Tensor& logits) {
    std::vector<uint16_t> symbols;
    for (int64_t t = 0; t < logits.size(0); ++t) {
      uint16_t symbol = 0;
      for (int64_t bit = 0; bit < logits.size(1); ++bit) symbol |= (logits[t][bit].item<double>() > 0) << bit;
      symbols.push_back(symbol);
    }
    return symbols;
  };
  kernels::LocalCounterfactual kernel;
  for (int64_t row = 0; row < 2; ++row) {
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      for (int64_t head = 0; head < 4; ++head) {
        const auto part = [&](const at::Tensor& tensor, int64_t of) {
          return tensor[row][of].narrow(0, begin, length);
        };
        const auto query = symbols_of(part(input.query, head)), key = symbols_of(part(input.key, head / 2));
        const auto value = symbols_of(part(input.value, head / 2));
        const at::Tensor gradient = part(upstream, head).to(at::kFloat).contiguous();
        std::vector<int32_t> positions(query.size());
        std::vector<double> of_query(query.size() * 2), of_key(query.size() * 2), of_value(query.size() * 3);
        kernel.effects(query, key, 2,
                       {value, 3, {gradient.const_data_ptr<float>(), static_cast<size_t>(gradient.numel())}}, positions,
                       of_query, of_key, of_value);
        part(query_effects, head).copy_(at::tensor(of_query, at::kDouble).view({length, 2}));
        part(key_effects, head / 2).add_(at::tensor(of_key, at::kDouble).view({length, 2}));
      }
      begin += length;
    }
  }
  EXPECT_GT(key_effects.abs().max().item<double>(), 0);
  const auto expected = [](const at::Tensor& logits, const at::Tensor& effects) {
    return -at::where(logits > 0, 1.0, -1.0) * effects / (2 * (1 + logits.abs()).square());
  };
  expect_close(actual[0], expected(input.query, query_effects), 1e-12);
  expect_close(actual[1], expected(input.key, key_effects), 1e-12);
  expect_close(actual[2], gradients_of(input, options_of("bit_flip"), upstream)[2], 1e-12);
}

TEST(BitFlip, LowPrecisionGivesGradientsOfItsDtype) {
  at::manual_seed(5);
  OperatorInput input = make_input("random", {1, 2, 2, 30, 2, 2}, at::kFloat, true);
  for (at::Tensor* tensor : {&input.query, &input.key, &input.value}) *tensor = tensor->to(at::kBFloat16);
  OperatorInput wide = input;
  for (at::Tensor* tensor : {&wide.query, &wide.key, &wide.value}) *tensor = tensor->to(at::kFloat);
  const at::Tensor upstream = random_like_output(wide);
  const auto actual = gradients_of(input, options_of("bit_flip"), upstream);
  const auto expected = gradients_of(wide, options_of("bit_flip"), upstream);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(is_equal(actual[i], expected[i].to(at::kBFloat16)));
}

TEST(QkvEstimators, GiveOnlyWhatIsNeeded) {
  at::manual_seed(6);
  HostExecutor executor(1);
  for (const QkvEstimator* estimator : qkv_estimators()) {
    SCOPED_TRACE(estimator->name());
    const int64_t heads = estimator->needs_equal_codes() ? 2 : 4;
    const OperatorInput input = make_input("random", {2, heads, 2, 30, 4, 4}, at::kFloat, true);
    const OperatorOptions options = options_of(estimator->name());
    HardResult hard;
    rosa_operator(input, options, executor, &hard);
    EXPECT_EQ(hard.positions.defined(), estimator->needs_positions());
    GradientCall call{input, options, hard.positions, random_like_output(input)};
    const auto all = estimator->gradients(call);
    for (size_t i = 0; i < 3; ++i) {
      call.needed = {};
      call.needed[i] = true;
      const auto some = estimator->gradients(call);
      for (size_t k = 0; k < 3; ++k) EXPECT_EQ(some[k].defined(), k == i);
      EXPECT_TRUE(is_equal(some[i], all[i]));
    }
  }
}

template <class ErrorType>
std::string refusal_of(const OperatorInput& input, const OperatorOptions& options) {
  HostExecutor executor(1);
  try {
    rosa_operator(input, options, executor);
    return "";
  } catch (const ErrorType& error) {
    return error.what();
  }
}

TEST(QkvEstimators, SayWhatTheyCannotDo) {
  const OperatorInput good = make_input("random", {1, 1, 1, 5, 4, 4}, at::kFloat, true);
  OperatorInput unequal = good;
  unequal.key = -good.key;
  EXPECT_THAT(refusal_of<base::ConfigError>(unequal, options_of("tied_flip")), HasSubstr("not equal bit by bit"));
  EXPECT_THAT(refusal_of<base::ConfigError>(make_input("constant", {1, 2, 1, 5, 4, 4}), options_of("tied_flip")),
              HasSubstr("as many heads"));
  for (const QkvEstimator* estimator : qkv_estimators()) {
    SCOPED_TRACE(estimator->name());
    OperatorOptions options = options_of(estimator->name());
    options.alpha = 0.5;
    if (estimator->has_soft_output()) {
      EXPECT_EQ(refusal_of<base::ConfigError>(good, options), "");
    } else {
      EXPECT_THAT(refusal_of<base::ConfigError>(good, options), HasSubstr("keep alpha at 1"));
      EXPECT_THROW(estimator->soft_output(good, options), base::ArgumentError);
    }
    options.alpha = 1;
    options.proxy_kernel = ProxyKernel::sdpa;
    if (estimator->name() != std::string("sufa")) {
      EXPECT_THAT(refusal_of<base::ConfigError>(good, options), HasSubstr("take proxy_kernel fused or composed"));
    }
    options.training = false;  // the estimator is not asked for anything
    EXPECT_EQ(refusal_of<base::ConfigError>(good, options), "");
  }
  OperatorInput masked = good;
  masked.mask = at::ones({1, 1, 5, 5}, at::kBool);
  EXPECT_THAT(refusal_of<base::ArgumentError>(masked, options_of("bit_flip")), HasSubstr("got a mask"));
  EXPECT_THAT(refusal_of<base::ConfigError>(make_input("random", {1, 2, 1, 5, 17, 4}), options_of("bit_flip")),
              HasSubstr("at most 16 bits"));
}

}  // namespace
}  // namespace rosa
