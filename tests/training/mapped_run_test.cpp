// Runs whose frozen weights lie in their files: the bits of a run on copies, files that nothing writes to, and files
// that change or vanish under a run.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "base/checksum.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "parallel/single_communicator.h"
#include "tests/support/safetensors_file.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint.h"
#include "training/run_objects.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Does something after one of the steps.
class Intruder : public Recorder {
 public:
  Intruder(int64_t step, std::function<void()> act) : step_(step), act_(std::move(act)) {}
  void on_step(const StepMetrics& metrics) override {
    Recorder::on_step(metrics);
    if (metrics.step == step_) act_();
  }

 private:
  int64_t step_;
  std::function<void()> act_;
};

class MappedRun : public ::testing::Test {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    fs::copy(tiny_config("").model.folder, model(), fs::copy_options::recursive);
  }

  fs::path model() const { return folder_ / "model"; }
  fs::path file() const { return model() / "model.safetensors"; }
  RunConfig config(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.model.folder = model();
    config.train.micro_batches = 4;
    config.checkpoint.every = 3;
    return config;
  }
  static bool maps(const RunConfig& config) {
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config, Objective::distill, *single);
    const at::Tensor& weight = objects.model->parameters().at("model.layers.0.mlp.down_proj.weight");
    return !base::mapped_file_at(weight.const_data_ptr()).empty();
  }
  static std::string error_of(const RunConfig& config, Recorder& recorder) {
    try {
      train(config, recorder);
      return "";
    } catch (const base::FileError& error) {
      return error.what();
    }
  }

  testing::TemporaryFolder folder_;
};

TEST_F(MappedRun, TrainsToTheBitsOfARunOnCopies) {
  Recorder mapped, two, copied;
  ASSERT_TRUE(maps(config()));
  ASSERT_EQ(train(config("mapped"), mapped), RunOutcome::finished);
  train_on_two_ranks(config("two"), two);
  testing::misalign_tensors(file());
  ASSERT_FALSE(maps(config()));
  ASSERT_EQ(train(config("copied"), copied), RunOutcome::finished);
  for (const Recorder* other : {&two, &copied}) {
    EXPECT_EQ(other->losses, mapped.losses);
    EXPECT_EQ(other->evaluations, mapped.evaluations);
    EXPECT_EQ(base::file_checksum(other->last_checkpoint / kAdapterFile),
              base::file_checksum(mapped.last_checkpoint / kAdapterFile));
  }
}

TEST_F(MappedRun, WhatTrainsWeightsOfTheBaseLeavesTheFileAlone) {
  const uint64_t before = base::file_checksum(file());
  RunConfig config = this->config("base");
  config.train.trainable_base = {"*"};
  Recorder recorder;
  ASSERT_EQ(train(config, recorder), RunOutcome::finished);
  EXPECT_NE(recorder.losses.at(0), recorder.losses.at(5));
  config = this->config("pretrained");
  config.model.from_scratch = false;
  config.train.trainable = {"*"};
  config.train.trainable_base.clear();
  config.optimizer.rate_patterns.clear();
  config.optimizer.rate_factors.clear();
  config.loss.distill_alpha = 0;
  const auto single = parallel::make_single_communicator();
  Recorder pretrained;
  ASSERT_EQ(
      train_run(config, Objective::pretrain,
                {.communicator = *single, .observer = pretrained, .stop_requested = {}, .resolved_config = "text"}),
      RunOutcome::finished);
  EXPECT_NE(pretrained.losses.at(0), pretrained.losses.at(5));
  EXPECT_EQ(base::file_checksum(file()), before);
}

TEST_F(MappedRun, AFileThatIsWrittenToEndsItBeforeASave) {
  Intruder recorder(1, [&] { fs::last_write_time(file(), fs::last_write_time(file()) + std::chrono::seconds(1)); });
  EXPECT_THAT(error_of(config(), recorder), AllOf(HasSubstr(file().string()), HasSubstr("was written to while")));
  EXPECT_EQ(recorder.losses.size(), 3U);
  EXPECT_EQ(recorder.last_checkpoint, "") << "what was learnt from other weights is not worth saving";
}

TEST_F(MappedRun, AFileThatVanishesEndsItAfterASave) {
  RunConfig config = this->config();
  config.evaluation.every = 2;
  Recorder whole;
  ASSERT_EQ(train(this->config("whole"), whole), RunOutcome::finished);
  Intruder recorder(0, [&] { fs::rename(file(), folder_ / "away"); });
  EXPECT_THAT(error_of(config, recorder), AllOf(HasSubstr(file().string()), HasSubstr("was deleted or moved"),
                                                HasSubstr("step 2 is saved: put the file back")));
  fs::rename(folder_ / "away", file());
  Recorder resumed;
  ASSERT_EQ(train(config, resumed), RunOutcome::finished);
  EXPECT_EQ(resumed.first_steps, std::vector<int64_t>{2});
  EXPECT_EQ(resumed.losses.at(5), whole.losses.at(5));
}

}  // namespace
}  // namespace rosa::training
