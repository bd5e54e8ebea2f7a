// What all estimators share: names, options, shapes, random numbers that depend on neither threads nor ranks.
#include "rosa/estimators/gate_estimator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "base/error.h"
#include "rosa/estimators/estimated_gate.h"
#include "tests/rosa/estimators/gate_cases.h"
#include "tests/support/tensors.h"

namespace rosa {
namespace {

TEST(GateEstimator, UnknownNamesAreRefusedWithTheKnownOnes) {
  GateEstimatorConfig config;
  config.name = "reinforce";
  try {
    make_gate_estimator(config);
    FAIL();
  } catch (const base::ConfigError& error) {
    for (const std::string& name : gate_estimator_names()) EXPECT_THAT(error.what(), ::testing::HasSubstr(name));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("reinforce"));
  }
}

TEST(GateEstimator, EveryNameMakesOne) {
  EXPECT_THAT(gate_estimator_names(), ::testing::ElementsAre("none", "flip", "flip_mode", "leg", "disarm", "rloo",
                                                             "arms", "rodeo", "double_cv"));
  for (const std::string& name : gate_estimator_names()) {
    EXPECT_EQ(testing::make_estimator(name, RewardScope::causal, 2)->evaluations() > 0, name != "none");
  }
}

TEST(GateEstimator, OptionsThatDoNotFitAreRefused) {
  const auto refuses = [](const std::function<void(GateEstimatorConfig&)>& change) {
    GateEstimatorConfig config;
    change(config);
    EXPECT_THROW(make_gate_estimator(config), base::ConfigError);
  };
  refuses([](auto& config) { config.num_samples = 0; });
  refuses([](auto& config) { config.temperature = 0; });
  refuses([](auto& config) { config.name = "leg", config.compatible = "fastrosa"; });
  refuses([](auto& config) { config.compatible = "other"; });
  for (const char* name : {"leg", "disarm"}) {
    refuses([&](auto& config) { config.name = name, config.num_samples = 3; });
  }
  for (const char* name : {"rloo", "arms", "rodeo", "double_cv"}) {
    refuses([&](auto& config) { config.name = name, config.num_samples = 1; });
  }
}

TEST(GateEstimator, ShapesThatDoNotFitAreRefused) {
  HostExecutor executor(1);
  const auto estimator = testing::make_estimator("rodeo", RewardScope::causal, 2);
  const auto refuses = [&](const std::function<void(GateCall&)>& change) {
    GateCall call = testing::make_call(2, 5, 3, 1, executor);
    change(call);
    EXPECT_THROW(estimator->gradient(call, executor), base::ArgumentError);
  };
  refuses([](GateCall& call) { call.x = call.x[0]; });
  refuses([](GateCall& call) { call.x = call.x.to(at::kLong); });
  refuses([](GateCall& call) { call.grad_output = call.grad_output.transpose(1, 2); });
  refuses([](GateCall& call) { call.emb1 = at::ones({4}); });
  refuses([](GateCall& call) { call.index = at::Tensor(); });
  refuses([](GateCall& call) { call.uniforms = at::ones({2, 5, 3}); });
  refuses([](GateCall& call) { call.uniforms = at::ones({1, 2, 5, 3}); });  // rodeo draws two
}

// All estimators in all scopes, after an update so that what they learn matters.
class Reproducibility : public ::testing::Test {
 protected:
  template <class Check>
  void for_all(const Check& check) {
    for (const std::string& name : gate_estimator_names()) {
      for (const auto& [scope_name, scope] : testing::scopes()) {
        SCOPED_TRACE(name + " " + scope_name);
        const auto make = [&, of = scope] {
          auto estimator = testing::make_estimator(name, of, 4);
          testing::set_parameters(*estimator, 2);
          return estimator;
        };
        check(make);
      }
    }
  }

  HostExecutor executor_{1};
  GateCall call_ = testing::make_call(5, 37, 3, 1, executor_);
};

TEST_F(Reproducibility, AtAnyNumberOfThreads) {
  for_all([&](const auto& make) {
    const auto estimator = make();
    const at::Tensor expected = estimator->gradient(call_, executor_);
    estimator->update(5);
    for (int threads : {2, 3}) {
      HostExecutor executor(threads);
      const auto other = make();
      EXPECT_TRUE(testing::is_equal(other->gradient(call_, executor), expected));
      other->update(5);
      for (size_t i = 0; i < estimator->parameters().size(); ++i) {
        EXPECT_TRUE(testing::is_equal(other->parameters()[i].second, estimator->parameters()[i].second));
      }
    }
  });
}

TEST_F(Reproducibility, AtAnySplitOfTheBatch) {
  for_all([&](const auto& make) {
    const auto estimator = make(), other = make();
    const at::Tensor expected = estimator->gradient(call_, executor_);
    std::vector<at::Tensor> parts;
    for (const auto& [begin, size] : {std::pair<int64_t, int64_t>{0, 2}, {2, 3}}) {
      GateCall part = call_;
      for (at::Tensor GateCall::*tensor : {&GateCall::x, &GateCall::index, &GateCall::grad_output}) {
        part.*tensor = (call_.*tensor).narrow(0, begin, size);
      }
      part.stream.first_sample += static_cast<uint64_t>(begin);
      parts.push_back(other->gradient(part, executor_));
    }
    EXPECT_TRUE(testing::is_equal(at::cat(parts), expected));
    for (size_t i = 0; i < estimator->parameters().size(); ++i) {
      testing::expect_close(other->parameters()[i].second.grad(), estimator->parameters()[i].second.grad(), 1e-5);
    }
  });
}

TEST_F(Reproducibility, EveryPartOfTheStreamMatters) {
  for_all([&](const auto& make) {
    const auto estimator = make();
    const at::Tensor first = estimator->gradient(call_, executor_);
    EXPECT_TRUE(testing::is_equal(estimator->gradient(call_, executor_), first));
    for (uint64_t GateStream::*field :
         {&GateStream::seed, &GateStream::step, &GateStream::first_sample, &GateStream::layer}) {
      GateCall other = call_;
      ++(other.stream.*field);
      const bool draws = !testing::is_equal(estimator->gradient(other, executor_), first);
      const bool is_exact = estimator->evaluations() == 0 || estimator->evaluations() == kFlipEvaluations;
      EXPECT_EQ(draws, !is_exact);
    }
  });
}

// A single sequence and a single position, where nothing can match.
TEST_F(Reproducibility, ShortSequences) {
  for_all([&](const auto& make) {
    for (int64_t length : {1, 2, 3}) {
      const GateCall call = testing::make_call(1, length, 2, 1, executor_);
      const at::Tensor gradient = make()->gradient(call, executor_);
      EXPECT_TRUE(gradient.isfinite().all().template item<bool>());
      EXPECT_EQ(gradient.sizes(), call.x.sizes());
      if (length == 1) {
        EXPECT_TRUE(testing::is_equal(gradient, at::zeros_like(call.x)));
      }
    }
  });
}

TEST(EstimatedGate, GivesEveryArgumentItsGradient) {
  HostExecutor executor(2);
  const GateCall call = testing::make_call(2, 19, 3, 1, executor);
  const auto estimator = testing::make_estimator("disarm", RewardScope::causal, 4);
  const at::Tensor x = call.x.to(at::kDouble).requires_grad_(), emb0 = call.emb0.clone().requires_grad_(),
                   emb1 = call.emb1.view({1, 1, 3}).clone().requires_grad_();
  const at::Tensor output = estimated_gate(x, emb0, emb1, *estimator, call.stream, executor);
  EXPECT_TRUE(testing::is_equal(output, one_bit_gate(call.x, call.emb0, call.emb1, executor).output));
  const auto gradients = torch::autograd::grad({output}, {x, emb0, emb1}, {call.grad_output});
  EXPECT_EQ(gradients[0].scalar_type(), at::kDouble);
  EXPECT_EQ(gradients[2].sizes(), emb1.sizes());
  testing::expect_close(gradients[0], estimator->gradient(call, executor), 1e-6);
  testing::expect_close(gradients[1], (call.grad_output * (call.index == 0)).sum({0, 1}), 1e-6);
  testing::expect_close(gradients[2].view({-1}), (call.grad_output * (call.index == 1)).sum({0, 1}), 1e-6);
  // Only the embeddings are trained: the estimator isn't asked.
  const at::Tensor frozen = estimated_gate(call.x, emb0, emb1, *estimator, call.stream, executor);
  EXPECT_EQ(torch::autograd::grad({frozen}, {emb0}, {call.grad_output})[0].sizes(), emb0.sizes());
}

}  // namespace
}  // namespace rosa
