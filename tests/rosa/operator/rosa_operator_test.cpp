#include "rosa/operator/rosa_operator.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <mutex>

#include "base/error.h"
#include "rosa/operator/one_bit_gate.h"
#include "rosa/operator/proxies.h"
#include "rosa/operator/qkv_estimator.h"
#include "tests/rosa/operator/inputs.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

using testing::is_equal;
using testing::make_input;
using testing::Sizes;

// The hard operator of one head, by definition. `allowed` may be undefined.
struct PlainHead {
  at::Tensor bits;                 // [T,M]
  std::vector<int64_t> positions;  // i*, -1 for none
};
PlainHead plain_hard(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                     const at::Tensor& allowed) {
  const int64_t length = query.size(0);
  const at::Tensor q = query > 0, k = key > 0, v = (value > 0).to(query.scalar_type());
  const at::Tensor equal = (q.unsqueeze(1) == k.unsqueeze(0)).all(-1);
  PlainHead head{at::zeros_like(v), std::vector<int64_t>(length, -1)};
  std::vector<std::vector<int64_t>> run(length, std::vector<int64_t>(length, 0));
  for (int64_t t = 0; t < length; ++t) {
    int64_t best = 0;
    for (int64_t i = 0; i < t; ++i) {
      const bool cell = equal[t][i].item<bool>() && (!allowed.defined() || allowed[t][i].item<bool>());
      run[t][i] = cell ? 1 + (i > 0 ? run[t - 1][i - 1] : 0) : 0;
      if (run[t][i] > 0 && run[t][i] >= best) {
        best = run[t][i];
        head.positions[t] = i;
      }
    }
    if (best > 0) head.bits[t] = v[head.positions[t] + 1];
  }
  return head;
}

void expect_plain(const OperatorInput& input, const OperatorOutput& output) {
  const int64_t heads = input.query.size(1), share = heads / input.key.size(1);
  for (int64_t batch = 0; batch < input.query.size(0); ++batch) {
    for (int64_t head = 0; head < heads; ++head) {
      at::Tensor allowed;
      if (input.mask.defined()) {
        allowed = input.mask[input.mask.size(0) == 1 ? 0 : batch][input.mask.size(1) == 1 ? 0 : head];
      }
      const PlainHead plain = plain_hard(input.query[batch][head], input.key[batch][head / share],
                                         input.value[batch][head / share], allowed);
      EXPECT_TRUE(is_equal(output.bits[batch][head], plain.bits));
      for (size_t t = 0; t < plain.positions.size(); ++t) {
        EXPECT_EQ(output.matched[batch][head][t].item<bool>(), plain.positions[t] >= 0);
      }
    }
  }
}

TEST(RosaOperator, HardIsItsDefinition) {
  at::manual_seed(1);
  HostExecutor executor(2);
  for (const char* kind : {"random", "constant", "zero", "periodic", "nan"}) {
    for (const Sizes& sizes : {Sizes{2, 4, 2, 30, 1, 3}, Sizes{1, 2, 2, 1, 8, 8}, Sizes{1, 3, 1, 25, 63, 40}}) {
      SCOPED_TRACE(kind);
      OperatorInput input = make_input(kind, sizes, at::kFloat, true);
      expect_plain(input, rosa_operator(input, {}, executor));
      input.mask = at::rand({1, sizes.heads, sizes.length, sizes.length}) < 0.7;
      expect_plain(input, rosa_operator(input, {}, executor));
    }
  }
}

TEST(RosaOperator, PackedDocumentsAreEachAlone) {
  at::manual_seed(2);
  HostExecutor executor(2);
  const Sizes sizes{2, 4, 2, 60, 2, 8};
  OperatorInput input = make_input("random", sizes, at::kFloat, true);
  const std::vector<int64_t> lengths{5, 1, 34, 20};
  input.documents = testing::documents_of(sizes.batch, lengths);
  for (const OperatorControl control : {OperatorControl::none, OperatorControl::windowed}) {
    OperatorOptions options;
    options.control = control;
    options.sliding_window = 6;
    const OperatorOutput packed = rosa_operator(input, options, executor);
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      const OperatorOutput alone = rosa_operator(testing::slice(input, begin, length), options, executor);
      EXPECT_TRUE(is_equal(packed.bits.narrow(2, begin, length), alone.bits));
      EXPECT_TRUE(is_equal(packed.matched.narrow(2, begin, length), alone.matched));
      begin += length;
    }
  }
}

struct Trained {
  OperatorOutput output;
  std::array<at::Tensor, 3> gradients;
};

Trained train(const OperatorInput& input, OperatorOptions options, HostExecutor& executor, const at::Tensor& upstream,
              HardResult* recorded = nullptr) {
  options.training = true;
  OperatorInput leaves = input;
  for (at::Tensor* tensor : {&leaves.query, &leaves.key, &leaves.value}) *tensor = tensor->detach().requires_grad_();
  Trained trained{rosa_operator(leaves, options, executor, recorded), {}};
  const auto gradients = torch::autograd::grad({trained.output.bits}, {leaves.query, leaves.key, leaves.value},
                                               {upstream}, std::nullopt, false, true);
  std::copy(gradients.begin(), gradients.end(), trained.gradients.begin());
  return trained;
}

TEST(RosaOperator, LengthsComeOutWhereTheyAreWanted) {
  at::manual_seed(4);
  HostExecutor executor(1);
  const OperatorInput input = make_input("random", {1, 2, 1, 20, 2, 3}, at::kFloat, true);
  EXPECT_FALSE(rosa_operator(input, {}, executor).lengths.defined());
  OperatorOptions options;
  options.want_lengths = true;
  options.alpha = 0.5;
  const OperatorOutput output = rosa_operator(input, options, executor);
  EXPECT_TRUE(is_equal(output.lengths > 0, output.matched));
  HardResult recorded;
  for (int run = 0; run < 2; ++run) {  // the second takes what is recorded
    EXPECT_TRUE(
        is_equal(train(input, options, executor, at::ones({1, 2, 20, 3}), &recorded).output.lengths, output.lengths));
  }
  options.control = OperatorControl::zeroed;
  EXPECT_EQ(rosa_operator(input, options, executor).lengths.max().item<int64_t>(), 0);
}

// The mean over all places of the longest match, by definition.
at::Tensor plain_mean(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                      const at::Tensor& allowed) {
  const int64_t length = query.size(0);
  const at::Tensor v = (value > 0).to(at::kFloat);
  at::Tensor equal = ((query > 0).unsqueeze(1) == (key > 0).unsqueeze(0)).all(-1);
  if (allowed.defined()) equal = equal.logical_and(allowed);
  at::Tensor bits = at::zeros_like(v), run = at::zeros({length}, at::kLong);
  for (int64_t t = 1; t < length; ++t) {
    run = (at::cat({at::zeros({1}, at::kLong), run.narrow(0, 0, length - 1)}) + 1) * equal[t];
    run.narrow(0, t, length - t).zero_();
    if (run.max().item<int64_t>() == 0) continue;
    bits[t] = v.index({(run == run.max()).nonzero().squeeze(1) + 1}).mean(0);
  }
  return bits;
}

TEST(RosaOperator, MeansAreTheirDefinition) {
  at::manual_seed(5);
  HostExecutor executor(2);
  OperatorOptions options;
  options.candidates = Candidates::mean;
  for (const char* kind : {"random", "constant", "periodic", "nan"}) {
    for (const Sizes& sizes : {Sizes{2, 4, 2, 30, 1, 3}, Sizes{1, 3, 1, 25, 63, 40}, Sizes{1, 2, 2, 40, 3, 1}}) {
      SCOPED_TRACE(kind);
      OperatorInput input = make_input(kind, sizes, at::kFloat, true);
      for (const bool is_masked : {false, true}) {
        if (is_masked) input.mask = at::rand({1, 1, sizes.length, sizes.length}) < 0.7;
        const OperatorOutput output = rosa_operator(input, options, executor);
        for (int64_t batch = 0; batch < sizes.batch; ++batch) {
          for (int64_t head = 0; head < sizes.heads; ++head) {
            const int64_t kv_head = head / (sizes.heads / sizes.kv_heads);
            const at::Tensor expected =
                plain_mean(input.query[batch][head], input.key[batch][kv_head], input.value[batch][kv_head],
                           is_masked ? input.mask[0][0] : at::Tensor());
            EXPECT_LT((output.bits[batch][head] - expected).abs().max().item<double>(), 1e-6);
          }
        }
      }
    }
  }
  options.exact_value_gradient = true;
  EXPECT_THROW(rosa_operator(make_input("random", {}), options, executor), base::ConfigError);
}

TEST(RosaOperator, BlendAndGradients) {
  at::manual_seed(3);
  HostExecutor executor(1);
  const Sizes sizes{2, 4, 2, 33, 8, 8};
  for (const Proxy proxy : {Proxy::sufa, Proxy::soft_rosa}) {
    OperatorOptions options;
    options.estimator = &find_qkv_estimator(proxy == Proxy::sufa ? "sufa" : "soft_rosa");
    const OperatorInput input = make_input("random", sizes);
    const at::Tensor upstream = at::randn({2, 4, 33, 8});
    const at::Tensor hard = rosa_operator(input, options, executor).bits;
    const at::Tensor soft = proxy_forward(proxy, input, options);
    const auto expected = proxy_backward(proxy, input, options, upstream, {true, true, true});
    for (const double alpha : {0.0, 0.3, 1.0}) {
      options.alpha = alpha;
      const Trained trained = train(input, options, executor, upstream);
      if (alpha == 1) {
        EXPECT_TRUE(is_equal(trained.output.bits, hard));
      }
      testing::expect_close(trained.output.bits, soft + alpha * (hard - soft), 1e-6);
      EXPECT_TRUE(trained.output.bits.requires_grad());
      EXPECT_FALSE(trained.output.matched.requires_grad());
      // dy/dsoft is 1 whatever alpha is.
      for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(is_equal(trained.gradients[i], expected[i]));
    }
  }
}

TEST(RosaOperator, ExactValueGradientGoesToTheRetrievedRow) {
  at::manual_seed(4);
  HostExecutor executor(1);
  const Sizes sizes{2, 4, 2, 30, 2, 3};
  OperatorOptions options;
  options.sufa_head_dim = 8;
  options.exact_value_gradient = true;
  options.bits_tau = 0.5;
  const OperatorInput input = make_input("random", sizes, at::kDouble, true);
  const at::Tensor upstream = at::randn({2, 4, 30, 3}, at::kDouble);
  at::Tensor expected = at::zeros_like(input.value);
  for (int64_t batch = 0; batch < 2; ++batch) {
    for (int64_t head = 0; head < 4; ++head) {
      const PlainHead plain =
          plain_hard(input.query[batch][head], input.key[batch][head / 2], input.value[batch][head / 2], {});
      for (int64_t t = 0; t < 30; ++t) {
        if (plain.positions[t] < 0) continue;
        const int64_t row = plain.positions[t] + 1;
        const at::Tensor soft = at::sigmoid(input.value[batch][head / 2][row] / 0.5);
        expected[batch][head / 2][row] += upstream[batch][head][t] * soft * (1 - soft) / 0.5;
      }
    }
  }
  const Trained trained = train(input, options, executor, upstream);
  testing::expect_close(trained.gradients[2], expected, 1e-12);
  const auto proxy = proxy_backward(Proxy::sufa, input, options, upstream, {true, true, false});
  EXPECT_TRUE(is_equal(trained.gradients[0], proxy[0]));
  EXPECT_TRUE(is_equal(trained.gradients[1], proxy[1]));
}

TEST(RosaOperator, RecordedResultsAreUsedAndTheAutomataNotRun) {
  at::manual_seed(5);
  const OperatorInput input = make_input("random", {2, 4, 2, 40, 8, 8}, at::kFloat, true);
  const at::Tensor upstream = at::randn({2, 4, 40, 8});
  for (const bool exact : {false, true}) {
    OperatorOptions options;
    options.exact_value_gradient = exact;
    options.alpha = 0.5;
    HostExecutor executor(2);
    int jobs = 0;
    std::mutex mutex;
    executor.set_hooks({[&] {
                          const std::lock_guard lock(mutex);
                          ++jobs;
                        },
                        {},
                        {}});
    const Trained plain = train(input, options, executor, upstream);
    HardResult recorded;
    const Trained first = train(input, options, executor, upstream, &recorded);
    EXPECT_TRUE(recorded.defined());
    const int jobs_before = jobs;
    const Trained second = train(input, options, executor, upstream, &recorded);
    EXPECT_EQ(jobs, jobs_before);
    for (const Trained* trained : {&first, &second}) {
      EXPECT_TRUE(is_equal(trained->output.bits, plain.output.bits));
      EXPECT_TRUE(is_equal(trained->output.matched, plain.output.matched));
      for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(is_equal(trained->gradients[i], plain.gradients[i]));
    }
  }
}

TEST(RosaOperator, Controls) {
  at::manual_seed(6);
  HostExecutor executor(1);
  const OperatorInput input = make_input("random", {2, 4, 2, 40, 2, 8}, at::kFloat, true);
  const OperatorOutput plain = rosa_operator(input, {}, executor);
  OperatorOptions options;
  options.control = OperatorControl::zeroed;
  EXPECT_EQ(rosa_operator(input, options, executor).bits.abs().max().item<float>(), 0);
  EXPECT_FALSE(rosa_operator(input, options, executor).matched.any().item<bool>());

  options.control = OperatorControl::shuffled;
  const OperatorOutput shuffled = rosa_operator(input, options, executor);
  EXPECT_TRUE(is_equal(shuffled.matched, plain.matched));
  EXPECT_FALSE(at::equal(shuffled.bits, plain.bits));
  EXPECT_TRUE(is_equal(shuffled.bits, rosa_operator(input, options, executor).bits));

  options.control = OperatorControl::windowed;
  options.sliding_window = 7;
  const at::Tensor distance = at::arange(40).unsqueeze(1) - at::arange(40).unsqueeze(0);
  OperatorInput masked = input;
  masked.mask = (distance < 7).unsqueeze(0).unsqueeze(0);
  EXPECT_TRUE(is_equal(rosa_operator(input, options, executor).bits, rosa_operator(masked, {}, executor).bits));

  options.training = true;
  EXPECT_TRUE(is_equal(rosa_operator(input, options, executor).bits, rosa_operator(masked, {}, executor).bits));
  for (const OperatorControl control : {OperatorControl::zeroed, OperatorControl::shuffled}) {
    options.control = control;
    EXPECT_THROW(rosa_operator(input, options, executor), base::ArgumentError);
  }
}

TEST(RosaOperator, OutputMergesHeadsWithoutACopy) {
  HostExecutor executor(1);
  const OperatorInput input = make_input("random", {2, 4, 2, 10, 8, 8});
  for (const bool training : {false, true}) {
    OperatorOptions options;
    options.training = training;
    options.alpha = training ? 0.5 : 1;
    EXPECT_TRUE(rosa_operator(input, options, executor).bits.transpose(1, 2).is_contiguous());
  }
}

TEST(RosaOperator, LowPrecisionInputs) {
  at::manual_seed(7);
  HostExecutor executor(1);
  const OperatorInput input = make_input("random", {1, 2, 2, 20, 8, 8});
  OperatorInput half = input;
  for (at::Tensor* tensor : {&half.query, &half.key, &half.value}) *tensor = tensor->to(at::kBFloat16);
  OperatorInput widened = half;
  for (at::Tensor* tensor : {&widened.query, &widened.key, &widened.value}) *tensor = tensor->to(at::kFloat);
  OperatorOptions options;
  options.alpha = 0.5;
  const at::Tensor upstream = at::randn({1, 2, 20, 8});
  const Trained low = train(half, options, executor, upstream), wide = train(widened, options, executor, upstream);
  EXPECT_EQ(low.output.bits.scalar_type(), at::kFloat);
  EXPECT_TRUE(is_equal(low.output.bits, wide.output.bits));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(low.gradients[i].scalar_type(), at::kBFloat16);
    EXPECT_TRUE(is_equal(low.gradients[i], wide.gradients[i].to(at::kBFloat16)));
  }
}

TEST(RosaOperator, RefusesWhatDoesNotFit) {
  HostExecutor executor(1);
  const OperatorInput good = make_input("random", {1, 2, 1, 5, 4, 4});
  OperatorInput input = good;
  input.key = at::zeros({1, 1, 5, 3});
  EXPECT_THROW(rosa_operator(input, {}, executor), base::ArgumentError);
  input = good;
  input.value = at::zeros({1, 2, 5, 4});
  EXPECT_THROW(rosa_operator(input, {}, executor), base::ArgumentError);
  input = good;
  input.query = at::zeros({1, 2, 5, 64});
  EXPECT_THROW(rosa_operator(input, {}, executor), base::ArgumentError);
  OperatorOptions options;
  options.training = true;
  options.sufa_head_dim = 7;
  EXPECT_THROW(rosa_operator(good, options, executor), base::ConfigError);
  options.sufa_head_dim = 8;
  options.alpha = 1.5;
  EXPECT_THROW(rosa_operator(good, options, executor), base::ArgumentError);
  options.alpha = 1;
  options.bits_tau = 0;
  EXPECT_THROW(rosa_operator(good, options, executor), base::ArgumentError);
}

TEST(OneBitGate, RetrievesTheFollowingBit) {
  HostExecutor executor(1);
  // The bits 0 1 0 1 1: position 2 matches position 0 and retrieves bit 1.
  const at::Tensor x = at::tensor({-1.0F, 2.0F, 0.0F, 1.0F, 1.0F}).reshape({1, 5, 1});
  const at::Tensor emb0 = at::full({1}, -2.0F).requires_grad_(), emb1 = at::full({1}, 3.0F).requires_grad_();
  const OneBitGateOutput gate = one_bit_gate(x, emb0, emb1, executor);
  EXPECT_TRUE(is_equal(gate.index.flatten(), at::tensor({-1, -1, 1, 0, 1}, at::kLong)));
  EXPECT_TRUE(is_equal(gate.output.flatten(), at::tensor({0.0F, 0.0F, 3.0F, -2.0F, 3.0F})));
  EXPECT_THROW(one_bit_gate(x, at::zeros({2}), emb1, executor), base::ArgumentError);
}

}  // namespace
}  // namespace rosa
