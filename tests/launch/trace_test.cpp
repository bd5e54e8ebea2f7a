// `rosa train --trace` and what the layers tell, on the program itself.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"

namespace rosa {
namespace {

using nlohmann::json;
using testing::JobResult;
using testing::run_job;
using testing::TemporaryFolder;
using testing::TinyRun;

std::vector<std::string> traced(const TinyRun& run, const std::vector<std::string>& options) {
  std::vector<std::string> command = run.train_command();
  command.insert(command.end(), options.begin(), options.end());
  return command;
}

struct Spans {
  std::map<std::pair<int, std::string>, std::vector<json>> by_rank_and_name;
  std::set<std::string> threads;
};

Spans read_trace(const std::filesystem::path& file) {
  Spans spans;
  std::ifstream stream(file);
  for (const json& event : json::parse(stream)) {
    if (event.value("ph", "") == "X") spans.by_rank_and_name[{event["pid"], event["name"]}].push_back(event);
    if (event.value("name", "") == "thread_name") spans.threads.insert(event["args"]["name"]);
  }
  return spans;
}

std::vector<json> step_lines(const TinyRun& run) {
  std::vector<json> lines;
  std::ifstream stream(run.folder() / "metrics.jsonl");
  for (std::string line; std::getline(stream, line);) {
    if (const json parsed = json::parse(line); parsed["kind"] == "step") lines.push_back(parsed);
  }
  return lines;
}

TEST(Trace, OfTwoRanksIsOneFileWithEveryLayerAndStepOfTheWindow) {
  const TemporaryFolder work;
  const TinyRun run(work / "run", 4);
  const JobResult trained =
      run_job(traced(run, {"--trace", "--trace-skip", "1", "--trace-steps", "2"}), {.num_ranks = 2});
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  const Spans spans = read_trace(run.folder() / "trace.json");
  EXPECT_TRUE(spans.threads.contains("compute"));
  EXPECT_TRUE(spans.threads.contains("automaton 0"));
  for (const int rank : {0, 1}) {
    for (const char* name : {"step", "attention", "mlp", "match", "wait for automata"}) {
      const auto found = spans.by_rank_and_name.find({rank, name});
      ASSERT_NE(found, spans.by_rank_and_name.end()) << name << " of rank " << rank;
      std::set<int> steps, layers;
      for (const json& span : found->second) {
        steps.insert(span["args"]["step"].get<int>());
        layers.insert(span["args"].value("layer", -1));
      }
      EXPECT_EQ(steps, (std::set<int>{1, 2})) << name;
      if (std::string(name) != "step") {
        EXPECT_GE(*layers.begin(), 0) << name;
      }
    }
  }
  for (const int rank : {0, 1}) {
    const auto count_of = [&](const char* name) { return spans.by_rank_and_name.at({rank, name}).size(); };
    EXPECT_EQ(count_of("backward"), count_of("student forward"));
    EXPECT_EQ(count_of("loss"), count_of("student forward"));
    EXPECT_GE(count_of("lm_head"), 2 * count_of("loss"));  // the logits and their gradient, of each chunk
    EXPECT_FALSE(std::filesystem::exists(run.folder() / ("trace.rank_000" + std::to_string(rank) + ".json")));
  }
}

TEST(Trace, OfARunThatIsStoppedIsWhole) {
  const TemporaryFolder work;
  const TinyRun run(work / "run", 100000);
  testing::Job job(traced(run, {"--trace", work / "own.json", "--trace-steps", "3"}));
  ASSERT_TRUE(job.wait_for_path(run.checkpoint(2))) << job.output();
  job.send_signal(SIGINT);
  EXPECT_EQ(job.wait().exit_code, 75);
  EXPECT_FALSE(read_trace(work / "own.json").by_rank_and_name.empty());
}

TEST(Trace, WithoutTheOptionThereIsNone) {
  const TemporaryFolder work;
  const TinyRun run(work / "run", 1);
  const JobResult trained = run_job(run.train_command());
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_FALSE(std::filesystem::exists(run.folder() / "trace.json"));
}

TEST(Layers, AreInTheMetricsTheSameForAnyNumberOfRanks) {
  const TemporaryFolder work;
  std::vector<json> of_one_rank;
  for (const int num_ranks : {1, 2}) {
    const TinyRun run(work / std::to_string(num_ranks), 2);
    const JobResult trained = run_job(run.train_command(), {.num_ranks = num_ranks});
    ASSERT_EQ(trained.exit_code, 0) << trained.output;
    std::vector<json> layers;
    for (const json& line : step_lines(run)) {
      layers.push_back(line.at("layers"));
      ASSERT_FALSE(line.at("layers").empty());
      EXPECT_GE(line.at("match_wait_share").get<double>(), 0);
      EXPECT_LE(line.at("match_wait_share").get<double>(), 1);
      for (const json& layer : line.at("layers")) {
        EXPECT_GT(layer.at("matched_share").get<double>(), 0);
        EXPECT_LE(layer.at("matched_share").get<double>(), 1);
        EXPECT_GT(layer.at("query_entropy").get<double>(), 0);
      }
    }
    ASSERT_EQ(layers.size(), 2U);
    if (num_ranks == 1) {
      of_one_rank = layers;
    } else {
      EXPECT_EQ(layers, of_one_rank);
    }
  }
}

}  // namespace
}  // namespace rosa
