// A run's history is one line: whatever a run goes on from, what it saves next descends from that, nothing that was
// saved before is lost, and the same command again goes on from the newest of its own line.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint_store.h"
#include "training/fault_injection.h"
#include "training/resume.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kNumSteps = 12;

// Sets an environment variable while it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) { ::setenv(name, value.c_str(), 1); }
  ~Environment() { ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

class RunHistoryTest : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  // A checkpoint every two steps of twelve.
  RunConfig config(const std::string& name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.train.num_steps = kNumSteps;
    config.train.micro_batches = 1;
    config.evaluation = {.every = 2, .num_sequences = 2};
    config.checkpoint.every = 2;
    config.checkpoint.keep_last = 0;
    return config;
  }
  static fs::path checkpoints(const RunConfig& config) { return fs::path(config.run.folder) / "checkpoints"; }
  static fs::path checkpoint(const RunConfig& config, int64_t step) {
    return checkpoints(config) / CheckpointStore::folder_name(step);
  }
  static std::vector<int64_t> steps_in(const fs::path& folder) {
    std::vector<int64_t> steps;
    for (const fs::path& path : CheckpointStore(folder).list()) steps.push_back(CheckpointStore::step_of(path));
    return steps;
  }
  // The folders in which checkpoints were set aside.
  static std::vector<fs::path> set_aside(const RunConfig& config) {
    return CheckpointStore(checkpoints(config)).set_aside_folders();
  }
  static std::string weights(const fs::path& checkpoint) {
    return base::read_file(checkpoint / "adapter.safetensors", 1 << 26);
  }
  // The steps that metrics.jsonl shows, in its order.
  static std::vector<int64_t> steps_of_metrics(const fs::path& file) {
    std::vector<int64_t> steps;
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) steps.push_back(nlohmann::json::parse(line).at("step"));
    return steps;
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(RunHistoryTest, AnOlderCheckpointBeginsANewLineAndTheOldOneIsSetAside) {
  std::vector<CheckpointSection> retentions(5);
  retentions[1].keep_last = 1;
  retentions[2].keep_last = 2;
  retentions[3] = {.keep_last = 1, .keep_every = 4};
  retentions[4] = {.keep_last = 1, .keep_best = 1};
  retentions[0].keep_last = 0;
  for (size_t i = 0; i < retentions.size(); ++i) {
    SCOPED_TRACE(::testing::Message() << "retention " << i);
    RunConfig run = config("run_" + std::to_string(i));
    Recorder whole;
    ASSERT_EQ(train(run, whole), RunOutcome::finished);
    ASSERT_THAT(steps_in(checkpoints(run)), ElementsAre(2, 4, 6, 8, 10, 12));
    const std::string at_8 = weights(checkpoint(run, 8)), at_12 = weights(checkpoint(run, 12));

    run.checkpoint = retentions[i];
    run.checkpoint.every = 2;
    run.checkpoint.resume = i % 2 == 0 ? checkpoint(run, 4).string() : "step_00000004";
    Recorder branch;
    ASSERT_EQ(train(run, branch, /*stop_after=*/4), RunOutcome::stopped);
    EXPECT_EQ(branch.first_steps, (std::vector<int64_t>{4}));
    ASSERT_FALSE(steps_in(checkpoints(run)).empty());
    EXPECT_EQ(steps_in(checkpoints(run)).back(), 8) << "what was just saved stays";
    EXPECT_EQ(weights(checkpoint(run, 8)), at_8);
    ASSERT_EQ(set_aside(run).size(), 1u);
    EXPECT_THAT(steps_in(set_aside(run)[0]), ElementsAre(6, 8, 10, 12));
    EXPECT_EQ(weights(set_aside(run)[0] / "step_00000012"), at_12);
    EXPECT_THAT(branch.notices, HasSubstr(set_aside(run)[0].string()));

    Recorder again;  // the job that is started again has the same key
    ASSERT_EQ(train(run, again), RunOutcome::finished);
    EXPECT_EQ(again.first_steps, (std::vector<int64_t>{8}));
    EXPECT_EQ(weights(checkpoint(run, 12)), at_12);
    EXPECT_EQ(set_aside(run).size(), 1u);
  }
}

TEST_F(RunHistoryTest, EveryInterruptionLosesNothingAndIsMadeUpFor) {
  RunConfig whole = config("whole");
  Recorder recorder;
  ASSERT_EQ(train(whole, recorder), RunOutcome::finished);
  for (const char* point : {"setting_aside:step_00000012", "setting_aside:step_00000008", "setting_aside:step_00000006",
                            "set_aside", "snapshot", "gathered", "renamed"}) {
    for (const bool by_key : {true, false}) {
      SCOPED_TRACE(::testing::Message() << point << (by_key ? ", the same key again" : ", then auto"));
      RunConfig run = config(std::string("interrupted_") + point + (by_key ? "_key" : "_auto"));
      fs::copy(whole.run.folder, run.run.folder, fs::copy_options::recursive);
      run.checkpoint.keep_last = 1;
      run.checkpoint.max_failed_saves = 0;
      run.checkpoint.resume = checkpoint(run, 4).string();
      {
        const Environment fault("ROSA_SAVE_FAULT", std::string("fail at ") + point);
        Recorder interrupted;
        EXPECT_THROW(train(run, interrupted), base::Error);
      }
      if (!by_key) run.checkpoint.resume = "auto";
      Recorder again;
      ASSERT_EQ(train(run, again, /*stop_after=*/2), RunOutcome::stopped);
      const int64_t begin = std::string(point) == "renamed" ? 6 : 4;  // by then the first new one stood
      EXPECT_EQ(again.first_steps, (std::vector<int64_t>{begin}));
      EXPECT_EQ(steps_in(checkpoints(run)).back(), begin + 2);
      std::multiset<int64_t> aside;
      for (const fs::path& folder : set_aside(run)) {
        for (const int64_t step : steps_in(folder)) aside.insert(step);
      }
      EXPECT_EQ(aside, (std::multiset<int64_t>{6, 8, 10, 12}));
    }
  }
}

TEST_F(RunHistoryTest, GoingBackToAnOlderPointTwiceNeedsTheLaterOnesMovedAway) {
  RunConfig run = config();
  Recorder recorder;
  ASSERT_EQ(train(run, recorder), RunOutcome::finished);
  run.checkpoint.resume = "step_00000004";  // by its name alone
  Recorder first, elsewhere, second;
  ASSERT_EQ(train(run, first, 2), RunOutcome::stopped);
  EXPECT_EQ(first.first_steps, (std::vector<int64_t>{4}));
  run.checkpoint.resume = checkpoint(run, 2).string();  // another point: another line
  ASSERT_EQ(train(run, elsewhere, 2), RunOutcome::stopped);
  EXPECT_EQ(elsewhere.first_steps, (std::vector<int64_t>{2}));
  EXPECT_EQ(set_aside(run).size(), 2u);
  EXPECT_THAT(steps_in(checkpoints(run)), ElementsAre(2, 4));
  run.checkpoint.resume = "auto";  // the key is gone ...
  ASSERT_EQ(train(run, second, 2), RunOutcome::stopped);
  EXPECT_EQ(second.first_steps, (std::vector<int64_t>{4}));
  run.checkpoint.resume = checkpoint(run, 2).string();  // ... and comes back: a new wish
  Recorder third;
  ASSERT_EQ(train(run, third, 2), RunOutcome::stopped);
  EXPECT_EQ(third.first_steps, (std::vector<int64_t>{2}));
  EXPECT_EQ(set_aside(run).size(), 3u);
}

// Only what comes after the point where the lines part is set aside. Retention may have removed checkpoints between.
TEST_F(RunHistoryTest, AnAbandonedLineCanBeTakenUpAgain) {
  for (const bool is_thinned : {false, true}) {
    SCOPED_TRACE(is_thinned ? "with gaps in both lines" : "all checkpoints are there");
    RunConfig run = config(is_thinned ? "thinned" : "full");
    run.logging.consumed_samples = true;
    const fs::path metrics = fs::path(run.run.folder) / "metrics.jsonl";
    const fs::path consumed = fs::path(run.run.folder) / "consumed" / "rank_0000.jsonl";
    Recorder recorder, branch, back;
    ASSERT_EQ(train(run, recorder, 10), RunOutcome::stopped);
    base::write_file_atomically(metrics, "{\"kind\":\"step\",\"step\":8}\n");
    if (is_thinned) fs::remove_all(checkpoint(run, 8));
    run.checkpoint.resume = checkpoint(run, 4).string();
    run.optimizer.weight_decay += 0.1;
    ASSERT_EQ(train(run, branch, 4, nullptr, {"optimizer"}), RunOutcome::stopped);
    run.optimizer.weight_decay -= 0.1;
    ASSERT_EQ(set_aside(run).size(), 1u);
    base::write_file_atomically(metrics, "{\"kind\":\"step\",\"step\":7}\n");
    base::write_file_atomically(consumed.parent_path() / "rank_0001.jsonl", "{\"step\":7,\"samples\":[]}\n");
    if (is_thinned) fs::remove_all(checkpoint(run, 6));

    // As a path, or as the run itself names it.
    const fs::path named = set_aside(run)[0] / "step_00000010";
    run.checkpoint.resume = (is_thinned ? named : named.lexically_relative(checkpoints(run))).string();
    ASSERT_EQ(train(run, back, 1), RunOutcome::stopped);
    EXPECT_EQ(back.first_steps, (std::vector<int64_t>{10}));
    EXPECT_THAT(steps_in(checkpoints(run)), ElementsAre(2, 4, 11)) << "both lines share 2 and 4";
    ASSERT_EQ(set_aside(run).size(), 2u);
    EXPECT_EQ(set_aside(run)[1].filename(), "after_step_00000004_2");
    EXPECT_EQ(steps_in(set_aside(run)[1]), is_thinned ? std::vector<int64_t>{8} : (std::vector<int64_t>{6, 8}));
    EXPECT_THAT(steps_of_metrics(metrics), ElementsAre(8)) << "each line has its own metrics";
    EXPECT_THAT(steps_of_metrics(set_aside(run)[1] / "metrics.jsonl"), ElementsAre(7));
    EXPECT_THAT(steps_of_metrics(consumed), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
    EXPECT_FALSE(fs::exists(consumed.parent_path() / "rank_0001.jsonl"));
    EXPECT_TRUE(fs::exists(set_aside(run)[1] / "consumed" / "rank_0001.jsonl"));

    // Before the line has a checkpoint of its own, the one that it began with counts, and not an older one that both
    // lines share; also where the folder is moved.
    fs::remove_all(checkpoint(run, 11));
    const fs::path moved = run.run.folder + "_moved";
    fs::rename(run.run.folder, moved);
    run.run.folder = moved.string();
    run.checkpoint.resume = "auto";
    Recorder again;
    ASSERT_EQ(train(run, again), RunOutcome::finished);
    EXPECT_EQ(again.first_steps, (std::vector<int64_t>{10}));
    EXPECT_THAT(steps_in(checkpoints(run)), ElementsAre(2, 4, 12));
  }
}

TEST_F(RunHistoryTest, TakingUpAnAbandonedLineMayBeInterrupted) {
  RunConfig whole = config("whole");
  Recorder recorder, branch;
  ASSERT_EQ(train(whole, recorder, 10), RunOutcome::stopped);
  whole.checkpoint.resume = checkpoint(whole, 4).string();
  whole.optimizer.weight_decay += 0.1;
  ASSERT_EQ(train(whole, branch, 4, nullptr, {"optimizer"}), RunOutcome::stopped);
  whole.optimizer.weight_decay -= 0.1;
  for (const char* point :
       {"setting_aside:step_00000008", "setting_aside:step_00000006", "set_aside", "snapshot", "renamed"}) {
    for (const bool by_key : {true, false}) {
      SCOPED_TRACE(::testing::Message() << point << (by_key ? ", the same key again" : ", then auto"));
      RunConfig run = config(std::string("interrupted_") + point + (by_key ? "_key" : "_auto"));
      fs::copy(whole.run.folder, run.run.folder, fs::copy_options::recursive);
      run.checkpoint.max_failed_saves = 0;
      run.checkpoint.resume = (set_aside(run)[0] / "step_00000008").string();
      {
        const Environment fault("ROSA_SAVE_FAULT", std::string("fail at ") + point);
        Recorder interrupted;
        EXPECT_THROW(train(run, interrupted), base::Error);
      }
      if (!by_key) run.checkpoint.resume = "auto";
      Recorder again;
      ASSERT_EQ(train(run, again, /*stop_after=*/1), RunOutcome::stopped);
      const int64_t begin = std::string(point) == "renamed" ? 10 : 8;  // by then the first new one stood
      EXPECT_EQ(again.first_steps, (std::vector<int64_t>{begin}));
      std::multiset<int64_t> all;
      for (const int64_t step : steps_in(checkpoints(run))) all.insert(step);
      EXPECT_THAT(steps_in(checkpoints(run)).front(), 2);
      for (const fs::path& folder : set_aside(run)) {
        for (const int64_t step : steps_in(folder)) all.insert(step);
      }
      std::multiset<int64_t> expected = {2, 4, 6, 6, 8, 8, 10, begin + 1};
      if (begin == 10) expected.insert(10);
      EXPECT_EQ(all, expected) << "nothing is lost";
    }
  }
}

TEST_F(RunHistoryTest, TheLastStepOfAnAbandonedLineIsTakenUpOnce) {
  RunConfig run = config();
  Recorder whole, branch, taken_up;
  ASSERT_EQ(train(run, whole), RunOutcome::finished);
  run.checkpoint.resume = checkpoint(run, 4).string();
  ASSERT_EQ(train(run, branch), RunOutcome::finished);
  ASSERT_EQ(set_aside(run).size(), 1u);
  run.checkpoint.resume = (set_aside(run)[0] / "step_00000012").string();
  ASSERT_EQ(train(run, taken_up), RunOutcome::finished);
  ASSERT_EQ(set_aside(run).size(), 2u);
  for (const std::string& resume : {run.checkpoint.resume, std::string("auto"), std::string("auto")}) {
    run.checkpoint.resume = resume;
    Recorder next;
    ASSERT_EQ(train(run, next), RunOutcome::finished);
    EXPECT_EQ(set_aside(run).size(), 2u) << "what was saved of the same step is the newest of the line";
    EXPECT_EQ(steps_in(checkpoints(run)).back(), kNumSteps);
  }
}

TEST_F(RunHistoryTest, ARollBackStaysInItsLine) {
  RunConfig run = config();
  run.failures.step_guard.on_non_finite = OnNonFinite::roll_back;
  run.logging.consumed_samples = true;
  Recorder recorder, branch;
  ASSERT_EQ(train(run, recorder), RunOutcome::finished);
  run.checkpoint.resume = checkpoint(run, 4).string();
  {
    const Environment fault("ROSA_FAULT", "do=nan_loss step=5;do=nan_loss step=9");
    install_faults_of_environment(/*rank=*/0);
    ASSERT_EQ(train(run, branch), RunOutcome::finished);
  }
  install_faults_of_environment(/*rank=*/0);
  EXPECT_EQ(branch.first_steps, (std::vector<int64_t>{4, 4, 8})) << "never 12, of the line that was left";
  EXPECT_EQ(set_aside(run).size(), 1u);
  EXPECT_THAT(steps_of_metrics(fs::path(run.run.folder) / "consumed" / "rank_0000.jsonl"),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11))
      << "each step once";
  Recorder again;
  ASSERT_EQ(train(run, again), RunOutcome::finished);
  EXPECT_EQ(again.first_steps, (std::vector<int64_t>{12}));
}

TEST_F(RunHistoryTest, DamagedCheckpointsAreSetAsideAndNotWrittenOver) {
  RunConfig run = config();
  Recorder recorder, again;
  ASSERT_EQ(train(run, recorder), RunOutcome::finished);
  for (const int64_t step : {10, 12}) std::ofstream(checkpoint(run, step) / "state.json", std::ios::app) << "x";
  ASSERT_EQ(train(run, again), RunOutcome::finished);
  EXPECT_EQ(again.first_steps, (std::vector<int64_t>{8}));
  ASSERT_EQ(set_aside(run).size(), 1u);
  EXPECT_THAT(steps_in(set_aside(run)[0]), ElementsAre(10, 12));
  EXPECT_EQ(open_checkpoint(checkpoint(run, 12)).manifest().info.step, 12);
}

// Retention removes the checkpoint that the key names, and the whole folder is moved.
TEST_F(RunHistoryTest, TheKeyIsObeyedOnceAlsoWhereItsCheckpointIsGone) {
  for (const bool by_name : {true, false}) {
    SCOPED_TRACE(by_name ? "by name" : "by folder");
    RunConfig run = config(by_name ? "named" : "path");
    const auto key = [&] { return by_name ? "step_00000004" : checkpoint(run, 4).string(); };
    Recorder recorder, branch, again;
    ASSERT_EQ(train(run, recorder), RunOutcome::finished);
    run.checkpoint.keep_last = 1;
    run.checkpoint.resume = key();
    ASSERT_EQ(train(run, branch, 4), RunOutcome::stopped);
    ASSERT_THAT(steps_in(checkpoints(run)), ElementsAre(8));
    const fs::path moved = folder_ / (by_name ? "named_moved" : "path_moved");
    fs::rename(run.run.folder, moved);
    run.run.folder = moved.string();
    run.checkpoint.resume = key();
    run.failures.step_guard.on_non_finite = OnNonFinite::skip;
    ASSERT_EQ(train(run, again), RunOutcome::finished);
    EXPECT_EQ(again.first_steps, (std::vector<int64_t>{8}));
  }
}

TEST_F(RunHistoryTest, MetricsOfARunWhoseCheckpointsAreGoneAreKept) {
  RunConfig run = config();
  Recorder recorder, anew;
  ASSERT_EQ(train(run, recorder, 4), RunOutcome::stopped);
  base::write_file_atomically(fs::path(run.run.folder) / "metrics.jsonl", "{\"kind\":\"step\",\"step\":3}\n");
  fs::remove_all(checkpoints(run));
  EXPECT_THROW(train(run, anew, 1), base::CheckpointError);
  run.checkpoint.resume = "none";
  ASSERT_EQ(train(run, anew, 1), RunOutcome::stopped);
  ASSERT_EQ(set_aside(run).size(), 1u);
  EXPECT_THAT(steps_of_metrics(set_aside(run)[0] / "metrics.jsonl"), ElementsAre(3));
}

TEST_F(RunHistoryTest, EachManifestNamesItsParent) {
  RunConfig run = config();
  Recorder recorder, branch;
  ASSERT_EQ(train(run, recorder, 7), RunOutcome::stopped);
  run.checkpoint.resume = checkpoint(run, 4).string();
  ASSERT_EQ(train(run, branch, 3), RunOutcome::stopped);
  EXPECT_THAT(steps_in(checkpoints(run)), ElementsAre(2, 4, 6, 7));
  EXPECT_FALSE(read_manifest(checkpoint(run, 2)).info.parent.has_value());
  for (const auto& [step, parent] : std::map<int64_t, int64_t>{{4, 2}, {6, 4}, {7, 6}}) {
    const auto named = read_manifest(checkpoint(run, step)).info.parent;
    ASSERT_TRUE(named.has_value()) << step;
    EXPECT_EQ(named->step, parent);
    EXPECT_EQ(named->checksum, read_manifest(checkpoint(run, parent)).checksum);
  }
}

// One that a user puts into the folder by hand must not push out what the run saves.
TEST_F(RunHistoryTest, RetentionCountsFromWhatWasJustSaved) {
  RunConfig run = config();
  run.checkpoint.keep_last = 1;
  Recorder recorder;
  ASSERT_EQ(train(run, recorder, 4), RunOutcome::stopped);
  const CheckpointStore store(checkpoints(run));
  fs::rename(checkpoint(run, 4), checkpoint(run, 90));
  std::ofstream(checkpoint(run, 90) / "manifest.json") << "{}";
  fs::copy(checkpoint(run, 90), checkpoint(run, 6), fs::copy_options::recursive);
  store.retain({.last = 1}, checkpoint(run, 6));
  EXPECT_THAT(steps_in(checkpoints(run)), ElementsAre(6, 90));
}

TEST_F(RunHistoryTest, AnotherRunsCheckpointIsTheRootUntilTheFirstOfItsOwn) {
  RunConfig other = config("other"), run = config();
  Recorder theirs, mine, from_theirs, again;
  ASSERT_EQ(train(other, theirs, 6), RunOutcome::stopped);
  run.checkpoint.resume = checkpoint(other, 4).string();
  {
    const Environment fault("ROSA_SAVE_FAULT", "fail at snapshot");  // ends before it has saved anything
    run.checkpoint.max_failed_saves = 0;
    EXPECT_THROW(train(run, mine), base::CheckpointError);
  }
  run.checkpoint.resume = "auto";
  ASSERT_EQ(train(run, from_theirs, 2), RunOutcome::stopped);
  EXPECT_EQ(from_theirs.first_steps, (std::vector<int64_t>{4}));
  EXPECT_THAT(steps_in(checkpoints(run)), ElementsAre(6));
  EXPECT_THAT(steps_in(checkpoints(other)), ElementsAre(2, 4, 6)) << "the other run is left alone";
  EXPECT_THAT(set_aside(other), IsEmpty());
  fs::remove_all(other.run.folder);
  ASSERT_EQ(train(run, again, 2), RunOutcome::stopped);
  EXPECT_EQ(again.first_steps, (std::vector<int64_t>{6}));
}

}  // namespace
}  // namespace rosa::training
