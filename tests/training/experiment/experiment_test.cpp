#include "training/experiment/experiment.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "parallel/thread_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/experiment/small_experiment.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

// Losses of all steps and evaluations, and the result, without times.
struct Outcome {
  std::vector<double> losses, evaluations;
  nlohmann::json result;

  bool operator==(const Outcome&) const = default;
};

nlohmann::json read_json(const fs::path& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

Outcome outcome_of(const fs::path& run) {
  Outcome outcome;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line);
    (json.at("kind") == "step" ? outcome.losses : outcome.evaluations).push_back(json.at("loss"));
  }
  outcome.result = read_json(run / "result.json");
  for (const char* time : {"seconds", "steps_per_second", "step_ms"}) outcome.result.erase(time);
  outcome.result["equal_steps"].erase("seconds");
  return outcome;
}

class Experiments : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  // Runs on `num_ranks` ranks; stops after `num_steps` further steps (negative: never).
  RunOutcome run(const ExperimentConfig& config, const std::vector<ExperimentArm>& arms, int num_ranks,
                 int64_t num_steps = -1, const std::map<std::string, std::string>& settings = {}) {
    RunOutcome outcome = RunOutcome::finished;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      HostExecutor executor(1);
      int64_t num_asked = 0;
      const ExperimentContext context{
          .communicator = communicator,
          .executor = executor,
          .stop_requested = [&] { return communicator.rank() == 0 && num_asked++ == num_steps; },
          .resolved_config = "text",
          .settings = settings,
          .command = "rosa experiment x.yaml",
          .machine = "a machine",
          .commit = "abc",
          .on_notice = [&](const std::string& notice) { notices_.push_back(notice); }};
      const RunOutcome own = run_experiment(config, arms, context);
      if (communicator.rank() == 0) outcome = own;
    });
    return outcome;
  }

  const testing::TemporaryFolder folder_;
  std::vector<std::string> notices_;
};

TEST_F(Experiments, SameBitsOnAnyNumberOfRanksAndThroughStops) {
  const std::vector<ExperimentArm> arms = {gate_arm("disarm")};
  ExperimentConfig config = small_experiment((folder_ / "one").string());
  EXPECT_EQ(run(config, arms, 1), RunOutcome::finished);
  const Outcome expected = outcome_of(folder_ / "one" / "disarm-seed0");
  ASSERT_EQ(expected.losses.size(), 8u);
  ASSERT_EQ(expected.evaluations.size(), 3u);

  config.experiment.folder = (folder_ / "two").string();
  EXPECT_EQ(run(config, arms, 2), RunOutcome::finished);
  EXPECT_EQ(outcome_of(folder_ / "two" / "disarm-seed0"), expected);

  config.experiment.folder = (folder_ / "stopped").string();
  EXPECT_EQ(run(config, arms, 2, 3), RunOutcome::stopped);
  EXPECT_FALSE(fs::exists(folder_ / "stopped" / "disarm-seed0" / "result.json"));
  EXPECT_EQ(run(config, arms, 4, 2), RunOutcome::stopped);
  EXPECT_EQ(run(config, arms, 1), RunOutcome::finished);
  EXPECT_EQ(outcome_of(folder_ / "stopped" / "disarm-seed0"), expected);
}

TEST_F(Experiments, EstimatorsWithOwnWeightsGoOnToo) {
  const std::vector<ExperimentArm> arms = {gate_arm("rodeo")};
  ExperimentConfig config = small_experiment((folder_ / "one").string());
  config.data.embedding_scale = 0.5;
  run(config, arms, 1);
  const Outcome expected = outcome_of(folder_ / "one" / "rodeo-seed0");
  config.experiment.folder = (folder_ / "stopped").string();
  EXPECT_EQ(run(config, arms, 2, 4), RunOutcome::stopped);
  EXPECT_EQ(run(config, arms, 4), RunOutcome::finished);
  EXPECT_EQ(outcome_of(folder_ / "stopped" / "rodeo-seed0"), expected);
}

TEST_F(Experiments, FinishedRunsAreNotDoneAgainAndOthersMayBeAdded) {
  ExperimentConfig config = small_experiment((folder_ / "e").string());
  run(config, {gate_arm("none")}, 1);
  const auto written = fs::last_write_time(folder_ / "e" / "none-seed0" / "result.json");
  notices_.clear();
  config.experiment.seeds = {0, 1};
  run(config, {gate_arm("none"), gate_arm("flip")}, 1);
  EXPECT_EQ(notices_.size(), 3u);
  EXPECT_EQ(fs::last_write_time(folder_ / "e" / "none-seed0" / "result.json"), written);
  const auto described = read_json(folder_ / "e" / "experiment.json");
  EXPECT_EQ(described.at("arms").size(), 2u);
  EXPECT_EQ(described.at("seeds"), (std::vector<int64_t>{0, 1}));
  EXPECT_NE(outcome_of(folder_ / "e" / "none-seed0").losses, outcome_of(folder_ / "e" / "none-seed1").losses);
}

TEST_F(Experiments, OtherSettingsInTheSameFolderAreRefused) {
  const ExperimentConfig config = small_experiment((folder_ / "e").string());
  const auto run_with = [&](const std::map<std::string, std::string>& settings) {
    run(config, {gate_arm("none")}, 1, -1, settings);
  };
  run_with({{"experiment.num_steps", "8"}, {"experiment.seeds", "[0]"}, {"compute.automaton_threads", "1"}});
  run_with({{"experiment.num_steps", "8"}, {"experiment.seeds", "[0, 1]"}, {"watchdog.heartbeat_s", "2"}});
  EXPECT_THAT(
      [&] {
        run_with({{"experiment.num_steps", "9"}, {"experiment.seeds", "[0]"}});
      },
      ThrowsMessage<base::ConfigError>(AllOf(HasSubstr("experiment.num_steps: 9"),
                                             HasSubstr("experiment.num_steps: 8 (in "), Not(HasSubstr("seeds")))));
  std::ofstream(folder_ / "e" / "experiment.json") << "{";
  EXPECT_THAT([&] { run_with({}); }, ThrowsMessage<base::DataError>(HasSubstr("experiment.json:1:1: no valid JSON")));
}

TEST_F(Experiments, TimeBudgetGoesOnAfterTheSteps) {
  ExperimentConfig config = small_experiment((folder_ / "e").string());
  config.experiment.num_steps = 1;
  config.experiment.seconds = 0.05;
  run(config, {gate_arm("none")}, 1);
  const auto result = read_json(folder_ / "e" / "none-seed0" / "result.json");
  EXPECT_EQ(result.at("equal_steps").at("steps"), 1);
  EXPECT_GE(result.at("equal_time").at("seconds").get<double>(), 0.05);
  EXPECT_GE(result.at("num_steps").get<int64_t>(), result.at("equal_time").at("steps").get<int64_t>());
}

TEST_F(Experiments, StudiesAreMadeOnceAndLeaveALineInTheRun) {
  ExperimentConfig config = small_experiment((folder_ / "e").string());
  config.data.embedding_scale = 0.5;
  config.study = {.arm = "leg",
                  .steps = {0, 5},
                  .num_draws = 40,
                  .num_rows = 2,
                  .reference_draws = 200,
                  .num_samples = {2, 4},
                  .num_flips = 20};
  const std::vector<ExperimentArm> arms = {gate_arm("none"), gate_arm("flip_mode"), gate_arm("disarm"),
                                           gate_arm("leg")};
  EXPECT_EQ(run(config, arms, 2, 3 * 8 + 6), RunOutcome::stopped);  // in the last arm, after both studies
  EXPECT_EQ(run(config, arms, 1), RunOutcome::finished);
  std::map<std::string, std::vector<nlohmann::json>> studies;
  std::ifstream in(folder_ / "e" / "studies.jsonl");
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.at("kind") == "variance") studies[json.at("label")].push_back(json);
  }
  ASSERT_EQ(studies.size(), 4u);  // disarm with 2 and 4 samples, and no none
  for (const auto& [label, lines] : studies) EXPECT_EQ(lines.size(), 2u) << label;
  EXPECT_LT(std::abs(studies.at("flip_mode")[0].at("variance").get<double>()), 1e-9);
  const double two = studies.at("disarm")[0].at("variance"),
               four = studies.at("disarm num_samples=4")[0].at("variance");
  EXPECT_GT(two / four, 1.4);
  EXPECT_LT(two / four, 2.8);
  EXPECT_GT(two, studies.at("leg")[0].at("variance").get<double>());
  std::set<int64_t> steps;
  std::ifstream metrics(folder_ / "e" / "leg-seed0" / "metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.at("kind") != "linearisation") continue;
    steps.insert(json.at("step").get<int64_t>());
    EXPECT_GT(json.at("correlation").get<double>(), 0.8);
  }
  EXPECT_EQ(steps, (std::set<int64_t>{0, 5}));
}

TEST_F(Experiments, RecallRunsThroughTheAdapter) {
  ExperimentConfig config = small_experiment((folder_ / "e").string());
  config.experiment.task = ExperimentTaskKind::recall;
  config.data = {.num_samples = 8, .micro_batches = 2, .length = 48, .channels = 16};
  config.adapter.num_heads = 2;
  ExperimentArm arm{.label = "sufa", .estimator = "sufa", .gate = {}, .adapter = config.adapter};
  run(config, {arm}, 2);
  const auto result = read_json(folder_ / "e" / "sufa-seed0" / "result.json");
  EXPECT_NEAR(result.at("equal_steps").at("loss").get<double>(), std::log(8.0), 1.0);
  EXPECT_FALSE(result.at("by_distance").empty());
}

TEST_F(Experiments, ChecksSayWhatIsWrong) {
  ExperimentConfig config = small_experiment("x");
  const std::vector<ExperimentArm> arms = {gate_arm("none")};
  const auto message = [&] {
    try {
      base::require_good(config, arms);
    } catch (const base::ConfigError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message(), "");
  config.data.micro_batches = 3;
  EXPECT_NE(message().find("data.micro_batches"), std::string::npos);
  config = small_experiment("x");
  config.study.arm = "leg";
  EXPECT_NE(message().find("study.arm"), std::string::npos);
  config = small_experiment("");
  EXPECT_NE(message().find("experiment.folder"), std::string::npos);
}

}  // namespace
}  // namespace rosa::training
