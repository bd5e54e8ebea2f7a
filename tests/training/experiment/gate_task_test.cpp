#include "training/experiment/gate_task.h"

#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <nlohmann/json.hpp>

#include "tests/training/experiment/small_experiment.h"

namespace rosa::training {
namespace {

TEST(GateTask, StartsTheSameForEveryArmOfASeed) {
  HostExecutor executor(1);
  const ExperimentConfig config = small_experiment("unused");
  const GateTask one(config, gate_arm("none"), 4, executor), other(config, gate_arm("leg"), 4, executor);
  const GateTask another_seed(config, gate_arm("none"), 5, executor);
  for (const auto& [name, tensor] : one.parameters()) {
    EXPECT_TRUE(at::equal(tensor, other.parameters().at(name))) << name;
  }
  EXPECT_FALSE(at::equal(one.parameters().at("head.weight"), another_seed.parameters().at("head.weight")));
}

TEST(GateTask, LossesOfMicroBatchesAddUpToTheGlobalBatch) {
  HostExecutor executor(1);
  const ExperimentConfig config = small_experiment("unused");
  GateTask task(config, gate_arm("none"), 4, executor);
  const double whole = task.loss(2, 0, 8).item<double>();
  EXPECT_NEAR(task.loss(2, 0, 2).item<double>() + task.loss(2, 2, 6).item<double>(), whole, 1e-6);
  EXPECT_NEAR(whole, std::log(11.0), 1.0);
}

// With `none` no gradient passes the gate, so only what lies behind it learns.
TEST(GateTask, NoneTrainsOnlyWhatIsBehindTheGate) {
  HostExecutor executor(1);
  const ExperimentConfig config = small_experiment("unused");
  for (const char* name : {"none", "leg"}) {
    ExperimentConfig louder = config;
    louder.data.embedding_scale = 1.0;
    GateTask task(louder, gate_arm(name), 4, executor);
    torch::autograd::backward({task.loss(0, 0, 8)}, {});
    const double at_embedding = task.parameters().at("embedding.weight").grad().abs().max().item<double>();
    EXPECT_GT(task.parameters().at("head.weight").grad().abs().max().item<double>(), 0.0);
    EXPECT_GT(task.parameters().at("gate.emb1").grad().abs().max().item<double>(), 0.0);
    EXPECT_EQ(at_embedding > 0.0, std::string(name) == "leg") << name;
  }
}

TEST(GateTask, ZeroedGateOnlySaysTheBiasAlone) {
  HostExecutor executor(1);
  const ExperimentConfig config = small_experiment("unused");
  GateTask task(config, gate_arm("none"), 4, executor);
  const at::NoGradGuard no_gradient;
  task.parameters().at("gate.emb1").fill_(50.0);  // without the gate's output it makes no difference
  const double zeroed = task.evaluate(true).loss;
  task.parameters().at("gate.emb1").fill_(-3.0);
  EXPECT_EQ(task.evaluate(true).loss, zeroed);
  EXPECT_NE(task.evaluate(false).loss, zeroed);
}

// The call that studies get is what training's backward hands to an estimator.
TEST(GateTask, GateCallIsThatOfTheLoss) {
  HostExecutor executor(1);
  ExperimentConfig config = small_experiment("unused");
  config.data.embedding_scale = 0.5;
  GateTask task(config, gate_arm("flip_mode"), 4, executor);
  const GateCall call = task.gate_call(1, 8);
  const at::Tensor gradient = make_gate_estimator(gate_arm("flip_mode").gate)->gradient(call, executor);
  torch::autograd::backward({task.loss(1, 0, 8)}, {});
  const at::Tensor trained = task.parameters().at("embedding.weight").grad();
  EXPECT_NEAR(gradient.sum().item<double>(), trained.sum().item<double>(), 1e-5 * gradient.abs().sum().item<double>());
  const at::Tensor output = at::where(call.index == 1, call.emb1, call.emb0) * (call.index >= 0);
  EXPECT_NEAR(task.loss_with_gate_output(1, 8, output), task.loss(1, 0, 8).item<double>(), 1e-6);
  EXPECT_NE(task.loss_with_gate_output(1, 8, -output), task.loss_with_gate_output(1, 8, output));
}

// The reference's model: the tokens' own ROSA is a good guess on counting numbers.
TEST(GateTask, CountingShowsLinesAndWhatRosaAloneKnows) {
  HostExecutor executor(1);
  ExperimentConfig config = small_experiment("unused");
  config.experiment.task = ExperimentTaskKind::counting;
  config.data.length = 128;
  GateTask task(config, gate_arm("none"), 4, executor);
  nlohmann::ordered_json result;
  task.add_results(result);
  EXPECT_GT(result.at("rosa_only_accuracy").get<double>(), 0.2);
  ASSERT_FALSE(result.at("lines").empty());
  for (const auto& line : result.at("lines")) {
    EXPECT_EQ(line.at("gold").get<std::string>().size(), 128u);
    EXPECT_EQ(line.at("model").get<std::string>().size(), 128u);
    EXPECT_EQ(line.at("rosa").get<std::string>().front(), '.');
  }
}

}  // namespace
}  // namespace rosa::training
