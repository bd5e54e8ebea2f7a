// Whole runs on 1 to 4 ranks: the same bits with and without a sharded optimiser and through resumes with other numbers
// of ranks, every sample consumed once; fast sums within their tolerance; what of the recipe resume compares.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/safetensors.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "training/run.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kNumSteps = 20;
constexpr int64_t kMicroBatches = 12;
constexpr int64_t kSequences = 2;  // of a micro-batch

class Recorder : public TrainingObserver {
 public:
  void on_start(int64_t, int64_t) override {}
  void on_step(const StepMetrics& metrics) override {
    losses.push_back(metrics.loss);
    last = metrics;
  }
  void on_evaluation(const EvaluationMetrics& metrics) override { evaluations.push_back(metrics.ce); }
  void on_checkpoint(int64_t, const fs::path& folder) override { checkpoint = folder; }
  void on_notice(const std::string&) override {}
  void on_end() override {}

  std::vector<double> losses, evaluations;
  StepMetrics last;
  fs::path checkpoint;
};

RunConfig small_config(const fs::path& folder) {
  RunConfig config;
  config.run.folder = folder.string();
  config.run.seed = 5;
  config.model.folder = fs::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied";
  config.student.sliding_window = 6;
  config.adapter = models::plain_adapter_config();
  config.adapter.num_heads = 4;
  config.adapter.query_key_bits = 4;
  config.adapter.value_bits = 4;
  config.data.kind = DataKind::phrases;
  config.data.sequence_length = 20;
  config.data.min_phrase_length = 3;
  config.data.max_phrase_length = 4;
  config.train.num_steps = kNumSteps;
  config.train.micro_batches = kMicroBatches;
  config.train.micro_batch_sequences = kSequences;
  config.loss.distill_alpha = 0.5;
  config.schedules.learning_rate.start = 1e-2;
  config.schedules.alpha = {.shape = ScheduleShape::linear, .start = 0.5, .end = 1.0};
  config.evaluation = {.every = 10, .num_sequences = 5};
  config.checkpoint.every = 100;
  config.compute.automaton_threads = 1;
  config.logging.consumed_samples = true;
  config.parallel.bucket_mib = 0.02;  // several buckets of this small model
  return config;
}

// Goes on with the run on `num_ranks` ranks until `stop_after` steps are done (0: to the end).
void train(const RunConfig& config, int num_ranks, Recorder& recorder, int64_t stop_after = 0) {
  parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
    const auto stop = [&] {
      return communicator.rank() == 0 && stop_after > 0 && static_cast<int64_t>(recorder.losses.size()) >= stop_after;
    };
    const RunContext context{
        .communicator = communicator, .observer = recorder, .stop_requested = stop, .resolved_config = "text"};
    train_run(config, Objective::distill, context);
  });
}

// Weights, moments and counters by name, as the last checkpoint has them, whatever files they are in.
std::map<std::string, std::vector<std::byte>> tensors_of(const Recorder& recorder) {
  std::map<std::string, std::vector<std::byte>> tensors;
  for (const auto& entry : fs::directory_iterator(recorder.checkpoint)) {
    if (entry.path().extension() != ".safetensors") continue;
    const base::SafetensorsFile file(entry.path());
    for (const auto& [name, view] : file.tensors()) tensors[name].assign(view.bytes.begin(), view.bytes.end());
  }
  EXPECT_GT(tensors.size(), 10u);
  return tensors;
}

// The consumed-id log of all ranks, in increasing order.
std::vector<int64_t> consumed_samples(const RunConfig& config) {
  std::vector<int64_t> samples;
  for (const auto& entry : fs::directory_iterator(fs::path(config.run.folder) / "consumed")) {
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      const auto json = nlohmann::json::parse(line);
      for (const int64_t sample : json.at("samples")) samples.push_back(sample);
    }
  }
  std::sort(samples.begin(), samples.end());
  return samples;
}

std::vector<int64_t> every_sample_once() {
  std::vector<int64_t> samples(kNumSteps * kMicroBatches * kSequences);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<int64_t>(i);
  return samples;
}

class Ranks : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  const testing::TemporaryFolder folder_;
};

TEST_F(Ranks, LossesAndWeightsHaveTheSameBitsHoweverTheRunIsShared) {
  Recorder one;
  train(small_config(folder_ / "one"), 1, one);
  ASSERT_EQ(one.losses.size(), static_cast<size_t>(kNumSteps));
  ASSERT_LT(one.losses.back(), one.losses.front());
  EXPECT_EQ(consumed_samples(small_config(folder_ / "one")), every_sample_once());

  const auto expect_equal = [&](const RunConfig& config, const Recorder& recorder) {
    EXPECT_EQ(recorder.losses, one.losses);
    EXPECT_EQ(recorder.evaluations, one.evaluations);
    EXPECT_TRUE(tensors_of(recorder) == tensors_of(one)) << "weights or moments differ";
    EXPECT_EQ(consumed_samples(config), every_sample_once());
  };
  for (const bool sharded : {false, true}) {
    const std::string kind = sharded ? "sharded" : "whole";
    for (const int num_ranks : {2, 3, 4}) {
      SCOPED_TRACE(::testing::Message() << num_ranks << " ranks, " << kind);
      RunConfig config = small_config(folder_ / (kind + std::to_string(num_ranks)));
      config.parallel.sharded_optimizer = sharded;
      Recorder recorder;
      train(config, num_ranks, recorder);
      expect_equal(config, recorder);
      EXPECT_EQ(recorder.last.optimizer_bytes < one.last.optimizer_bytes, sharded);
      EXPECT_GT(recorder.last.gradient_communication_ms, 0.0);
      EXPECT_GE(recorder.last.exposed_communication, 0.0);
      EXPECT_LE(recorder.last.exposed_communication, 1.0);
    }
    SCOPED_TRACE(kind + ", resumed with another number of ranks at every third step");
    RunConfig config = small_config(folder_ / (kind + "_resumed"));
    config.parallel.sharded_optimizer = sharded;
    Recorder recorder;
    const std::vector<int> numbers = {3, 1, 4, 2, 3, 4, 1};
    for (size_t part = 0; part < numbers.size(); ++part) {
      // Sharding may change on the way as well.
      config.parallel.sharded_optimizer = sharded != (part % 3 == 2);
      const int64_t stop_after = 3 * static_cast<int64_t>(part + 1);
      train(config, numbers[part], recorder, stop_after < kNumSteps ? stop_after : 0);
    }
    expect_equal(config, recorder);
  }
}

// The tolerance that docs/running.md states.
TEST_F(Ranks, FastSumsStayWithinTheirTolerance) {
  Recorder exact;
  train(small_config(folder_ / "exact"), 1, exact);
  struct Case {
    std::string wire_dtype;
    int num_ranks;
    bool sharded;
    double tolerance;
  };
  for (const Case& c : {Case{"float32", 2, false, 1e-3}, Case{"float32", 3, true, 1e-3},
                        Case{"bfloat16", 3, false, 2e-2}, Case{"bfloat16", 2, true, 2e-2}}) {
    SCOPED_TRACE(::testing::Message() << c.wire_dtype << ", " << c.num_ranks << " ranks, sharded " << c.sharded);
    RunConfig config = small_config(folder_ / (c.wire_dtype + std::to_string(c.num_ranks)));
    config.parallel.reduction = "fast";
    config.parallel.wire_dtype = c.wire_dtype;
    config.parallel.sharded_optimizer = c.sharded;
    Recorder fast;
    train(config, c.num_ranks, fast);
    ASSERT_EQ(fast.losses.size(), exact.losses.size());
    for (size_t step = 0; step < exact.losses.size(); ++step) {
      EXPECT_NEAR(fast.losses[step], exact.losses[step], c.tolerance * exact.losses[step]) << "step " << step;
    }
  }
}

// Resuming in fast mode: the same numbers on the same ranks.
TEST_F(Ranks, AResumedFastRunIsThatWhichWasNotStopped) {
  RunConfig config = small_config(folder_ / "whole");
  config.parallel.reduction = "fast";
  config.train.num_steps = 4;
  Recorder whole, parts;
  train(config, 2, whole);
  config.run.folder = (folder_ / "parts").string();
  train(config, 2, parts, 2);
  train(config, 2, parts);
  EXPECT_EQ(parts.losses, whole.losses);
}

TEST_F(Ranks, ComputeThreadsArePartOfTheRecipeAndAutomatonThreadsAreNot) {
  RunConfig config = small_config(folder_ / "run");
  config.train.num_steps = 3;
  Recorder whole, recorder;
  train(config, 1, whole);
  config.run.folder = (folder_ / "stopped").string();
  train(config, 1, recorder, 1);
  RunConfig other = config;
  other.compute.threads = 2;
  try {
    train(other, 1, recorder);
    FAIL() << "expected an error";
  } catch (const base::CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("compute"), std::string::npos) << error.what();
  }
  at::set_num_threads(1);
  config.compute.automaton_threads = 3;
  train(config, 1, recorder);
  EXPECT_EQ(recorder.losses, whole.losses);
}

TEST_F(Ranks, BfloatOnTheWireNeedsFastSums) {
  RunConfig config = small_config(folder_ / "run");
  config.parallel.wire_dtype = "bfloat16";
  Recorder recorder;
  EXPECT_THROW(train(config, 2, recorder), base::ConfigError);
}

}  // namespace
}  // namespace rosa::training
