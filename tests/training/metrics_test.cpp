#include "training/metrics.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/temporary_folder.h"

namespace rosa::training {
namespace {

std::vector<nlohmann::json> lines(const std::filesystem::path& path) {
  std::vector<nlohmann::json> result;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) result.push_back(nlohmann::json::parse(line));
  return result;
}

TEST(MetricsFile, SamplesAreALineOfTheirOwnBehindTheirEvaluation) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  MetricsFile file(path, 1);
  file.on_start(0, 9);
  file.on_evaluation({.step = 4, .samples = {{"a", "b\xff", "c"}, {"d", "e", ""}}});
  file.on_evaluation({.step = 6});
  const std::vector<nlohmann::json> found = lines(path);
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].at("kind"), "evaluation");
  EXPECT_FALSE(found[0].contains("samples"));
  EXPECT_EQ(found[1], nlohmann::json::parse(R"({"kind":"samples","step":4,"samples":[
      {"prompt":"a","continuation":"b\\xff","reference":"c"},{"prompt":"d","continuation":"e","reference":""}]})"));
  EXPECT_EQ(found[2].at("kind"), "evaluation");
}

TEST(MetricsFile, EachStepStandsOnceAfterAResume) {
  const testing::TemporaryFolder folder;
  const auto path = folder / "metrics.jsonl";
  {
    MetricsFile file(path, /*every=*/2);
    file.on_start(0, 9);
    for (int64_t step = 0; step < 7; ++step) file.on_step({.step = step, .num_steps = 9});
    file.on_evaluation({.step = 4});
    file.on_evaluation({.step = 6});
  }
  std::ofstream(path, std::ios::app) << "{\"kind\":\"step\",\"st";  // a kill in the middle of a line
  {
    MetricsFile file(path, 2);
    file.on_start(4, 9);
    for (int64_t step = 4; step < 9; ++step) file.on_step({.step = step, .num_steps = 9});
    file.on_evaluation({.step = 6});
  }
  std::map<std::string, std::vector<int64_t>> steps;
  for (const auto& line : lines(path)) steps[line.at("kind")].push_back(line.at("step"));
  EXPECT_EQ(steps["step"], (std::vector<int64_t>{0, 2, 4, 6, 8}));
  EXPECT_EQ(steps["evaluation"], (std::vector<int64_t>{4, 6}));
}

TEST(MetricsLine, NumbersThatAreNotThereAreLeftOut) {
  StepMetrics metrics;
  auto line = nlohmann::json::parse(metrics_line(metrics));
  EXPECT_FALSE(line.contains("flop_use"));
  EXPECT_FALSE(line.contains("device_peak_bytes"));
  metrics.flop_use = 0.25;
  metrics.device_peak_bytes = 7;
  line = nlohmann::json::parse(metrics_line(metrics));
  EXPECT_EQ(line.at("flop_use"), 0.25);
  EXPECT_EQ(line.at("device_peak_bytes"), 7);
}

}  // namespace
}  // namespace rosa::training
