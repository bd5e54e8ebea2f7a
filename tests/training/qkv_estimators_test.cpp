// A tiny student is trained with every estimator that a configuration can name.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "models/safetensors_weights.h"
#include "parallel/thread_communicator.h"
#include "rosa/operator/qkv_estimator.h"
#include "tests/support/temporary_folder.h"
#include "training/run.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

class Recorder : public TrainingObserver {
 public:
  void on_start(int64_t, int64_t) override {}
  void on_step(const StepMetrics& metrics) override { losses.push_back(metrics.loss); }
  void on_evaluation(const EvaluationMetrics&) override {}
  void on_checkpoint(int64_t step, const fs::path& folder) override { checkpoints[step] = folder; }
  void on_notice(const std::string&) override {}
  void on_end() override {}

  std::vector<double> losses;
  std::map<int64_t, fs::path> checkpoints;
};

RunConfig config_with(const std::string& estimator, const fs::path& folder) {
  RunConfig config;
  config.run.folder = folder.string();
  config.run.seed = 5;
  config.model.folder = fs::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied";
  config.student.sliding_window = 6;
  config.adapter.estimator = estimator;
  config.adapter.num_heads = 4;
  config.adapter.num_key_value_heads = find_qkv_estimator(estimator).needs_equal_codes() ? 4 : 2;
  config.adapter.query_key_bits = 2;
  config.adapter.value_bits = 2;
  config.data.kind = DataKind::phrases;
  config.data.sequence_length = 20;
  config.data.min_phrase_length = 3;
  config.data.max_phrase_length = 4;
  config.train.num_steps = 6;
  config.train.micro_batches = 4;
  config.optimizer.weight_decay = 0;  // what gets no gradient does not move
  config.schedules.learning_rate.start = 1e-2;
  config.evaluation.every = 0;
  config.checkpoint.every = 1;
  config.checkpoint.keep_last = 0;
  config.compute.automaton_threads = 1;
  return config;
}

Recorder train(const RunConfig& config, int num_ranks) {
  Recorder recorder;
  parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
    const RunContext context{.communicator = communicator,
                             .observer = recorder,
                             .stop_requested = [] { return false; },
                             .resolved_config = "text"};
    train_run(config, Objective::distill, context);
  });
  return recorder;
}

models::TensorMap weights_at(const Recorder& recorder, int64_t step) {
  return models::read_tensors(recorder.checkpoints.at(step) / "adapter.safetensors");
}

class QkvEstimatorRuns : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  const testing::TemporaryFolder folder_;
};

TEST_P(QkvEstimatorRuns, ATinyStudentTrains) {
  const Recorder recorder = train(config_with(GetParam(), folder_ / "one"), 1);
  ASSERT_EQ(recorder.losses.size(), 6u);
  for (const double loss : recorder.losses) EXPECT_TRUE(std::isfinite(loss));
  const models::TensorMap before = weights_at(recorder, 1), after = weights_at(recorder, 6);
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
    const std::string full = std::string("model.layers.0.self_attn.rosa_attn.") + name + ".weight";
    const bool moves = GetParam() != "none" || name == std::string("o_proj");
    EXPECT_EQ(!before.at(full).equal(after.at(full)), moves) << name;
  }

  RunConfig config = config_with(GetParam(), folder_ / "two");
  config.train.activation_checkpointing = models::ActivationCheckpointing::full;
  const Recorder shared = train(config, 2);
  EXPECT_EQ(shared.losses, recorder.losses) << "on two ranks, with layers computed again in the backward";
}

INSTANTIATE_TEST_SUITE_P(All, QkvEstimatorRuns, ::testing::ValuesIn(qkv_estimator_names()),
                         [](const auto& estimator) { return estimator.param; });

void check_agreement(const RunConfig& config) {
  base::ConfigProblems problems;
  check_estimator(problems, config);
  problems.throw_if_any();
}

TEST(QkvEstimatorConfig, AlphaBelowOneNeedsASoftOutput) {
  for (const QkvEstimator* estimator : qkv_estimators()) {
    RunConfig config;
    config.adapter.estimator = estimator->name();
    EXPECT_NO_THROW(check_agreement(config));
    for (const auto change :
         {+[](ScheduleConfig& alpha) { alpha.start = 0.9; }, +[](ScheduleConfig& alpha) { alpha.end = 0; },
          +[](ScheduleConfig& alpha) { alpha.warmup_steps = 2; }}) {
      RunConfig changed = config;
      change(changed.schedules.alpha);
      if (estimator->has_soft_output()) {
        EXPECT_NO_THROW(check_agreement(changed));
      } else {
        EXPECT_THROW(check_agreement(changed), base::ConfigError);
      }
    }
  }
}

}  // namespace
}  // namespace rosa::training
