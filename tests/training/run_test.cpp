// Whole small runs: the same bits for any number of ranks, through a stop and resume at any step, and with activation
// checkpointing; what resume refuses.
#include "training/run.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <fstream>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"
#include "tests/support/plain_state.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

std::string adapter_bytes(const Recorder& recorder) {
  return base::read_file(recorder.last_checkpoint / "adapter.safetensors", 1 << 26);
}

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }
  const testing::TemporaryFolder folder_;
};

TEST_F(RunTest, AStoppedRunGoesOnBitForBit) {
  Recorder whole;
  ASSERT_EQ(train(tiny_config(folder_ / "whole"), whole), RunOutcome::finished);
  ASSERT_EQ(whole.losses.size(), 6u);
  ASSERT_LT(whole.losses.at(5), whole.losses.at(0));
  for (const int64_t stop : {1, 3, 5}) {
    SCOPED_TRACE(::testing::Message() << "stopped after " << stop);
    const RunConfig config = tiny_config(folder_ / ("stopped_" + std::to_string(stop)));
    Recorder parts;
    ASSERT_EQ(train(config, parts, stop), RunOutcome::stopped);
    ASSERT_EQ(static_cast<int64_t>(parts.losses.size()), stop);
    ASSERT_EQ(train(config, parts), RunOutcome::finished);
    EXPECT_EQ(parts.first_steps, (std::vector<int64_t>{0, stop}));
    EXPECT_EQ(parts.losses, whole.losses);
    EXPECT_EQ(parts.evaluations, whole.evaluations);
    EXPECT_EQ(adapter_bytes(parts), adapter_bytes(whole));
  }
}

TEST_F(RunTest, ANewRunIsEvaluatedBeforeItsFirstStep) {
  RunConfig config = tiny_config(folder_ / "plain");
  config.train.micro_batches = 1;
  Recorder plain;
  ASSERT_EQ(train(config, plain), RunOutcome::finished);
  config.run.folder = (folder_ / "at_start").string();
  config.evaluation.at_start = true;
  Recorder first, second;
  ASSERT_EQ(train(config, first, 1), RunOutcome::stopped);
  ASSERT_EQ(train(config, second), RunOutcome::finished);
  ASSERT_EQ(first.evaluations.size(), 1u);
  EXPECT_TRUE(std::isfinite(first.evaluations.at(0)));
  EXPECT_NE(first.evaluations.at(0), plain.evaluations.at(3));
  EXPECT_EQ(second.evaluations, plain.evaluations) << "not again on a resume, and the steps keep their bits";
  EXPECT_EQ(second.losses.at(5), plain.losses.at(5));
  // With every 0 there are none.
  config.run.folder = (folder_ / "none").string();
  config.evaluation.every = 0;
  Recorder none;
  ASSERT_EQ(train(config, none, 1), RunOutcome::stopped);
  EXPECT_TRUE(none.evaluations.empty());
}

TEST_F(RunTest, ResumeRefusesAnotherRunAndMissingFolders) {
  RunConfig config = tiny_config(folder_ / "run");
  config.train.micro_batches = 1;
  Recorder recorder;
  ASSERT_EQ(train(config, recorder, 1), RunOutcome::stopped);
  RunConfig other = config;
  other.train.num_steps = 7;
  EXPECT_THROW(train(other, recorder), base::CheckpointError);
  other = config;
  other.data.max_phrase_length = 5;
  EXPECT_THROW(train(other, recorder), base::CheckpointError);
  other = config;
  other.checkpoint.resume = "none";
  EXPECT_THROW(train(other, recorder), base::ConfigError);
  other.checkpoint.resume = (folder_ / "nowhere").string();
  EXPECT_THROW(train(other, recorder), base::CheckpointError);
  std::ofstream(recorder.last_checkpoint / "state_0000.safetensors", std::ios::trunc) << "short";
  EXPECT_THROW(train(config, recorder), base::CheckpointError) << "only a broken checkpoint is left";
}

// The text of the refusal; empty where the run goes on.
std::string refusal(const RunConfig& config, const std::set<std::string>& accept_changed = {}) {
  const auto single = parallel::make_single_communicator();
  Recorder recorder;
  const RunContext context{.communicator = *single,
                           .observer = recorder,
                           .stop_requested = [] { return true; },
                           .resolved_config = "text",
                           .accept_changed = accept_changed};
  try {
    EXPECT_EQ(train_run(config, Objective::distill, context), RunOutcome::stopped);
    return "";
  } catch (const base::CheckpointError& error) {
    return error.what();
  }
}

TEST_F(RunTest, WhatChangedIsRefusedByNameAndAcceptedByFlag) {
  fs::copy(fs::path(ROSA_TEST_DATA) / "goldens" / "qwen3_tied", folder_ / "model");
  std::ofstream(folder_ / "model/tokenizer.json") << "{}";
  RunConfig config = tiny_config(folder_ / "run");
  config.model.folder = folder_ / "model";
  config.train.micro_batches = 1;
  Recorder recorder;
  ASSERT_EQ(train(config, recorder, 1), RunOutcome::stopped);
  ASSERT_EQ(refusal(config), "");

  std::map<std::string, RunConfig> changed;
  for (const char* name : {"data", "num_steps", "schedules", "global_batch", "compute_threads", "seed"}) {
    changed[name] = config;
  }
  changed["data"].data.max_phrase_length = 5;
  changed["num_steps"].train.num_steps = 7;
  changed["schedules"].schedules.alpha.start = 0.25;
  changed["global_batch"].train.micro_batches = 2;
  changed["compute_threads"].compute.threads = 2;
  changed["seed"].run.seed = 4;
  for (const auto& [name, other] : changed) {
    EXPECT_NE(refusal(other).find("--accept-changed "), std::string::npos) << name << ": " << refusal(other);
    EXPECT_EQ(refusal(other, {name}), "") << name;
  }
  EXPECT_NE(refusal(changed["data"], {"model"}), "") << "another flag";

  std::ofstream(folder_ / "model/tokenizer.json") << "{ }";
  EXPECT_NE(refusal(config).find("tokenizer ("), std::string::npos);
  EXPECT_EQ(refusal(config, {"tokenizer"}), "");
  std::fstream weights(folder_ / "model/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  weights.seekp(-2, std::ios::end);
  weights.put('\1').flush();
  EXPECT_NE(refusal(config, {"tokenizer"}).find("model ("), std::string::npos);
  EXPECT_EQ(refusal(config, {"tokenizer", "model"}), "");
  at::set_num_threads(1);
}

// Anything that a run makes and that has state must be in what it saves.
class Forgetful : public Recorder {
 public:
  void on_start(int64_t, int64_t) override { forgotten_ = std::make_unique<testing::PlainState>(); }

 private:
  std::unique_ptr<testing::PlainState> forgotten_;
};

TEST_F(RunTest, AStateThatIsNotRegisteredIsAnError) {
  RunConfig config = tiny_config(folder_ / "run");
  config.train.micro_batches = 1;
  Forgetful forgetful;
  try {
    train(config, forgetful, 1);
    FAIL() << "no error";
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("PlainState is not registered"), std::string::npos) << error.what();
  }
}

TEST_F(RunTest, ACheckpointHoldsEveryStateOfARun) {
  RunConfig config = tiny_config(folder_ / "run");
  config.train.micro_batches = 2;
  Recorder recorder;
  train(config, recorder, 3);
  const Checkpoint checkpoint(recorder.last_checkpoint);
  for (const char* name : {"adapter", "optimizer", "progress", "identity"}) EXPECT_TRUE(checkpoint.contains(name));
  EXPECT_EQ(std::get<int64_t>(checkpoint.state("progress").values.at("num_steps_done")), 3);
  EXPECT_EQ(std::get<int64_t>(checkpoint.state("progress").values.at("num_samples_done")), 6);
  EXPECT_EQ(checkpoint.manifest().info.evaluation_loss, recorder.evaluations.at(3));
}

TEST_F(RunTest, ActivationCheckpointingChangesNoBit) {
  Recorder without, with;
  RunConfig config = tiny_config(folder_ / "without");
  config.train.num_steps = 3;
  train(config, without);
  config.run.folder = (folder_ / "with").string();
  config.train.activation_checkpointing = models::ActivationCheckpointing::full;
  train(config, with);
  EXPECT_EQ(with.losses, without.losses);
  EXPECT_EQ(adapter_bytes(with), adapter_bytes(without));
}

TEST_F(RunTest, AWarmStartBeginsWithTheWeightsAndANewSchedule) {
  Recorder first, second;
  RunConfig config = tiny_config(folder_ / "first");
  config.train.num_steps = 2;
  train(config, first);
  RunConfig warm = tiny_config(folder_ / "second");
  warm.train.init_from = config.run.folder;
  warm.train.num_steps = 1;
  warm.schedules.learning_rate.start = 0.0;
  warm.schedules.learning_rate.shape = ScheduleShape::constant;
  train(warm, second);
  EXPECT_EQ(second.first_steps, (std::vector<int64_t>{0}));
  EXPECT_EQ(adapter_bytes(second), adapter_bytes(first));
}

// Samples with different numbers of counted labels.
class Uneven : public DataSource {
 public:
  explicit Uneven(std::unique_ptr<DataSource> source) : source_(std::move(source)) {}
  Batch batch(int64_t step, int64_t first_sample, int64_t num_samples) const override {
    Batch batch = source_->batch(step, first_sample, num_samples);
    batch.labels = batch.labels.clone();
    for (int64_t i = 0; i < num_samples; ++i) {
      batch.labels[i].narrow(0, 0, (first_sample + i) * 5 % 19).fill_(kIgnoredLabel);
    }
    return batch;
  }
  int64_t vocabulary_size() const override { return source_->vocabulary_size(); }
  std::string fingerprint() const override { return source_->fingerprint(); }
  std::string content() const override { return source_->content(); }

 private:
  std::unique_ptr<DataSource> source_;
};

TEST_F(RunTest, AnyNumberOfRanksGivesTheSameBits) {
  RunConfig config = tiny_config(folder_ / "unused");
  config.loss.divergence = Divergence::jensen_shannon;  // ranks_test does the same with what is the default
  config.loss.top_k = 9;
  std::map<int, std::vector<double>> losses;
  std::map<int, std::map<std::string, at::Tensor>> weights;
  for (const int num_ranks : {1, 2, 3, 4}) {
    std::mutex mutex;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      at::set_num_threads(1);
      RunObjects objects = build_run(config, Objective::distill, communicator);
      objects.training_data = std::make_unique<Uneven>(std::move(objects.training_data));
      Trainer trainer(config, objects.parts(communicator));
      std::vector<double> own;
      for (int64_t step = 0; step < 4; ++step) own.push_back(trainer.step(step).loss);
      own.push_back(trainer.evaluate(4).ce);
      const std::lock_guard lock(mutex);
      if (communicator.rank() != 0) {
        for (const auto& [name, tensor] : trainer.trained()) {
          if (weights[num_ranks].contains(name)) {
            EXPECT_TRUE(at::equal(weights[num_ranks].at(name), tensor)) << name;
          }
        }
        return;
      }
      losses[num_ranks] = own;
      for (const auto& [name, tensor] : trainer.trained()) weights[num_ranks][name] = tensor.detach().clone();
    });
  }
  for (const int num_ranks : {2, 3, 4}) {
    EXPECT_EQ(losses[num_ranks], losses[1]) << num_ranks << " ranks";
    for (const auto& [name, tensor] : weights[1]) {
      EXPECT_TRUE(at::equal(weights[num_ranks].at(name), tensor)) << num_ranks << " ranks: " << name;
    }
  }
}

TEST_F(RunTest, RanksThatDoNotDivideAreRefusedWithWhatWould) {
  const RunConfig config = tiny_config(folder_ / "unused");
  try {
    parallel::run_on_thread_ranks(5, [&](parallel::Communicator& communicator) {
      const RunObjects objects = build_run(config, Objective::distill, communicator);
      Trainer trainer(config, objects.parts(communicator));
    });
    FAIL() << "no error";
  } catch (const base::ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("12"), std::string::npos) << error.what();
  }
}

TEST_F(RunTest, FrozenProjectionsStayAndTheRestLearns) {
  RunConfig config = tiny_config(folder_ / "frozen");
  config.train.micro_batches = 2;
  config.adapter.tie_start = "query_key_value";
  config.adapter.exact_value_gradient = true;
  config.optimizer.rate_patterns = {"*.q_proj.*", "*.k_proj.*", "*.v_proj.*"};
  config.optimizer.rate_factors = {0.0, 0.0, 0.0};
  const auto communicator = parallel::make_single_communicator();
  RunObjects objects = build_run(config, Objective::distill, *communicator);
  const auto before = [&] {
    std::map<std::string, at::Tensor> copy;
    for (const auto& [name, tensor] : objects.adapters->parameters()) copy[name] = tensor.detach().clone();
    return copy;
  }();
  Trainer trainer(config, objects.parts(*communicator));
  for (int64_t step = 0; step < 3; ++step) trainer.step(step);
  for (const auto& [name, tensor] : objects.adapters->parameters()) {
    const bool frozen = name.find("_proj") != std::string::npos && name.find("o_proj") == std::string::npos;
    EXPECT_EQ(at::equal(tensor, before.at(name)), frozen) << name;
  }
}

}  // namespace
}  // namespace rosa::training
