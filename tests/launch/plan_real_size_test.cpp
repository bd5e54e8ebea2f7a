// `rosa plan` at the shapes of Qwen3-0.6B: its peak against what a run measures, within 10 %. Minutes, 12 GB of memory
// and 1.2 GB of disk: one of the long tests.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"

namespace rosa {
namespace {

using nlohmann::json;
using testing::JobResult;
using testing::run_rosa;

constexpr testing::Seconds kDeadline(1800);  // of two steps, on a slow or busy host

class PlanAtRealSize : public ::testing::Test {
 protected:
  PlanAtRealSize() {
    const JobResult made =
        testing::run_shell("python3 " ROSA_SOURCE_DIR "/bench/random_model.py " + (folder_ / "model").string());
    EXPECT_EQ(made.exit_code, 0) << made.output;
  }

  // Of two steps: planned and measured.
  std::pair<int64_t, int64_t> peaks(int64_t length, const std::vector<std::string>& settings) {
    const std::filesystem::path file = folder_ / "run.yaml", run = folder_ / "run";
    std::filesystem::remove_all(run);
    std::ofstream(file) << "run: {folder: " << run.string() << ", seed: 1}\n"
                        << "model: {folder: " << (folder_ / "model").string() << ", compute_dtype: bfloat16}\n"
                        << "data: {kind: phrases, sequence_length: " << length << ", vocabulary_size: 1000}\n"
                        << "train: {num_steps: 2, micro_batch_sequences: 1, micro_batches: 1}\n"
                        << "evaluation: {every: 0}\nlogging: {every: 1}\n"
                        << "compute: {device: cpu, threads: 2, automaton_threads: 1}\n";
    std::vector<std::string> plan = {"plan", file.string(), "--json"}, train = {"train", file.string()};
    for (const std::string& setting : settings) {
      for (std::vector<std::string>* command : {&plan, &train}) command->insert(command->end(), {"--set", setting});
    }
    const JobResult planned = run_rosa(plan), trained = run_rosa(train, {}, kDeadline);
    EXPECT_EQ(planned.exit_code, 0) << planned.output;
    EXPECT_EQ(trained.exit_code, 0) << trained.output;
    int64_t measured = 0;
    std::ifstream metrics(run / "metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) {
      const json values = json::parse(line);
      if (values.contains("memory_bytes")) measured = std::max(measured, values["memory_bytes"].get<int64_t>());
    }
    const int64_t peak = json::parse(planned.output).at("memory_bytes").at("host_peak").get<int64_t>();
    std::printf("T %lld%s%s: planned %lld MiB, measured %lld MiB\n", static_cast<long long>(length),
                settings.empty() ? "" : ", ", settings.empty() ? "" : settings.front().c_str(),
                static_cast<long long>(peak >> 20), static_cast<long long>(measured >> 20));
    return {peak, measured};
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(PlanAtRealSize, ThePeakIsWhatARunMeasures) {
  for (const int64_t length : {512, 2048}) {
    for (const std::vector<std::string>& settings :
         {std::vector<std::string>{}, {"train.activation_checkpointing=true"}}) {
      const auto [planned, measured] = peaks(length, settings);
      EXPECT_NEAR(static_cast<double>(planned) / static_cast<double>(measured), 1.0, 0.1);
    }
  }
}

}  // namespace
}  // namespace rosa
