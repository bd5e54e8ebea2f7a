// Whole small runs on several token files: the same bits through a stop and resume and for any number of ranks, the
// loss of each source in metrics.jsonl, and what resume refuses.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/data/token_file_writer.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

// Remembers what metrics.jsonl says of the sources too, a text for each step.
class SourceRecorder : public Recorder {
 public:
  explicit SourceRecorder(const std::filesystem::path& path) : path_(path), file_(path, 1) {}

  void on_start(int64_t first_step, int64_t num_steps) override {
    Recorder::on_start(first_step, num_steps);
    file_.on_start(first_step, num_steps);
  }
  void on_step(const StepMetrics& metrics) override {
    Recorder::on_step(metrics);
    file_.on_step(metrics);
  }
  std::vector<std::string> sources() const {
    std::vector<std::string> steps;
    std::istringstream lines(base::read_file(path_, 1 << 26));
    for (std::string line; std::getline(lines, line);) steps.push_back(nlohmann::json::parse(line)["sources"].dump());
    return steps;
  }

 private:
  std::filesystem::path path_;
  MetricsFile file_;
};

class MixtureRunTest : public ::testing::Test {
 protected:
  MixtureRunTest() {
    at::set_num_threads(1);
    write("plain", 1);
    write("coarse", 7);
    write("held_out", 3);
  }

  // 20 sequences of tokens that go up by `stride`.
  void write(const std::string& name, int64_t stride) const {
    constexpr int64_t kVocabulary = 211, kNumTokens = 20 * 24;
    TokenFileWriter writer(folder_ / (name + ".tokens"), kVocabulary, {});
    std::vector<int64_t> tokens;
    for (int64_t i = 0; i < kNumTokens; ++i) tokens.push_back(i * stride % kVocabulary);
    writer.add_document(tokens);
    writer.finish();
  }
  RunConfig config(const std::string& run) const {
    RunConfig config = tiny_config(folder_ / run);
    config.data = {.kind = DataKind::token_file, .sequence_length = 24};
    config.data.sources = {{.path = (folder_ / "plain.tokens").string(), .weight = 3},
                           {.path = (folder_ / "coarse.tokens").string(), .weight = 1, .name = "second"}};
    config.data.held_out_path = (folder_ / "held_out.tokens").string();
    config.train.micro_batches = 8;
    config.logging.every = 1;
    return config;
  }
  static std::string weights(const Recorder& recorder) {
    return base::read_file(recorder.last_checkpoint / "adapter.safetensors", 1 << 26);
  }
  const testing::TemporaryFolder folder_;
};

TEST_F(MixtureRunTest, AStopAndAnyNumberOfRanksChangeNoBit) {
  SourceRecorder whole(folder_ / "whole.jsonl");
  ASSERT_EQ(train(config("whole"), whole), RunOutcome::finished);
  ASSERT_EQ(whole.losses.size(), 6u);
  ASSERT_LT(whole.losses.at(5), whole.losses.at(0));
  ASSERT_EQ(whole.sources().size(), 6u);

  SourceRecorder parts(folder_ / "parts.jsonl");
  ASSERT_EQ(train(config("stopped"), parts, 2), RunOutcome::stopped);
  ASSERT_EQ(train(config("stopped"), parts), RunOutcome::finished);
  EXPECT_EQ(parts.first_steps, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(parts.losses, whole.losses);
  EXPECT_EQ(weights(parts), weights(whole));
  EXPECT_EQ(parts.sources(), whole.sources());

  SourceRecorder first(folder_ / "first.jsonl");
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    at::set_num_threads(1);
    Recorder other;
    Recorder& own = communicator.rank() == 0 ? first : other;
    EXPECT_EQ(train(config("two_ranks"), own, 0, &communicator), RunOutcome::finished);
  });
  EXPECT_EQ(first.losses, whole.losses);
  EXPECT_EQ(first.evaluations, whole.evaluations);
  EXPECT_EQ(weights(first), weights(whole));
  EXPECT_EQ(first.sources(), whole.sources());
}

TEST_F(MixtureRunTest, MetricsTellTheLossOfEachSource) {
  SourceRecorder recorder(folder_ / "run.jsonl");
  ASSERT_EQ(train(config("run"), recorder), RunOutcome::finished);
  double num_plain = 0;
  for (const std::string& text : recorder.sources()) {
    const auto step = nlohmann::json::parse(text);
    ASSERT_EQ(step.size(), 2u);
    EXPECT_EQ(step[0]["name"], "plain");
    EXPECT_EQ(step[1]["name"], "second");
    EXPECT_EQ(step[0]["num_sequences"].get<int64_t>() + step[1]["num_sequences"].get<int64_t>(), 8);
    num_plain += step[0]["num_sequences"].get<double>();
    EXPECT_DOUBLE_EQ(step[0]["epochs"].get<double>(), num_plain / 20);
    for (const auto& source : step) {
      if (source["num_sequences"] == 0) continue;
      EXPECT_GT(source["ce"].get<double>(), 0);
    }
  }
  EXPECT_GT(num_plain, 24);
}

TEST_F(MixtureRunTest, ResumeRefusesAnotherMixtureByName) {
  Recorder recorder;
  ASSERT_EQ(train(config("run"), recorder, 1), RunOutcome::stopped);
  const RunConfig same = config("run");
  RunConfig weight = same, added = same, removed = same, swapped = same;
  weight.data.sources[1].weight = 2;
  added.data.sources.push_back({.path = (folder_ / "held_out.tokens").string()});
  removed.data.sources.pop_back();
  std::swap(swapped.data.sources[0], swapped.data.sources[1]);
  for (const RunConfig& other : {weight, added, removed, swapped}) {
    try {
      train(other, recorder);
      ADD_FAILURE() << "went on";
    } catch (const base::CheckpointError& error) {
      EXPECT_THAT(error.what(), HasSubstr("data.sources: the checkpoint has '[{weight="));
      EXPECT_THAT(error.what(), HasSubstr("--accept-changed data.sources;"));
    }
  }
  EXPECT_EQ(train(config("run"), recorder), RunOutcome::finished);
}

}  // namespace
}  // namespace rosa::training
