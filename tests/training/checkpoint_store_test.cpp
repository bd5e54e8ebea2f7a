// Checkpoints of a folder: interrupted anywhere, on broken disks, and what retention keeps.
#include "training/checkpoint_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "tests/support/plain_state.h"
#include "tests/support/temporary_folder.h"
#include "training/save_fault.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::PlainState;
using testing::tensor_of;

class CheckpointStoreTest : public ::testing::Test {
 protected:
  CheckpointStoreTest() : store_(folder_ / "checkpoints") {
    adapter_.dict.tensors["model.layers.0.self_attn.rosa_attn.q_proj.weight"] = tensor_of({1, 2, 3});
    optimizer_.dict.tensors["exp_avg"] = tensor_of({0.25f, -0.0f});
  }

  States states() { return {{"adapter", &adapter_}, {"optimizer", &optimizer_}}; }
  fs::path save_with(const CheckpointStore& store, int64_t step, std::optional<double> loss = {}) {
    optimizer_.dict.values["steps"] = step;
    return store.save({"run-1", step, loss}, states(), {{"config.yaml", "a: 1\n"}});
  }
  fs::path save(int64_t step, std::optional<double> loss = {}) { return save_with(store_, step, loss); }
  // The step that newest_complete() finds, by what it loads; -1 for none.
  int64_t newest_step() const {
    const auto checkpoint = store_.newest_complete();
    if (!checkpoint) return -1;
    PlainState optimizer;
    checkpoint->load({{"optimizer", &optimizer}});
    return std::get<int64_t>(optimizer.dict.values.at("steps"));
  }
  void damage(const fs::path& path) const {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char last = static_cast<char>(file.get());
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last ^ 1));
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "checkpoints")) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> found;
    for (const fs::path& path : store_.list()) found.push_back(CheckpointStore::step_of(path));
    return found;
  }
  // The names of the points that `body` passes.
  template <class Body>
  std::vector<std::string> points_of(Body body) {
    std::vector<std::string> points;
    store_.set_observer([&](std::string_view point) { points.emplace_back(point); });
    body();
    store_.set_observer({});
    return points;
  }
  // Runs `body` in a process that SIGKILL ends at `point`.
  template <class Body>
  void killed_at(const std::string& point, Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
      store_.set_observer(save_faults("kill at " + point, 0));
      body();
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << point;
  }

  testing::TemporaryFolder folder_;
  CheckpointStore store_;
  PlainState adapter_, optimizer_;
};

TEST_F(CheckpointStoreTest, NewestWholeOneIsFound) {
  EXPECT_EQ(newest_step(), -1);
  EXPECT_EQ(save(5).filename(), "step_00000005");
  save(100000000);
  save(20);
  EXPECT_EQ(newest_step(), 100000000);
  fs::create_directories(folder_ / "checkpoints/step_x");
  fs::create_directories(folder_ / "checkpoints/other");
  EXPECT_EQ(newest_step(), 100000000);
  EXPECT_EQ(steps(), (std::vector<int64_t>{5, 20, 100000000}));
  EXPECT_THROW(save(-1), base::ArgumentError);
}

TEST_F(CheckpointStoreTest, DamagedOnesAreSkippedAndOneUnderAnotherNameToo) {
  save(1);
  for (const char* name :
       {"adapter.safetensors", "state_0000.safetensors", "state.json", "config.yaml", "manifest.json"}) {
    const fs::path path = save(2);
    EXPECT_EQ(newest_step(), 2);
    fs::resize_file(path / name, 3);
    EXPECT_EQ(newest_step(), 1) << name;
  }
  fs::rename(save(2), folder_ / "checkpoints/step_00000009");
  EXPECT_EQ(newest_step(), 1) << "it is not of the step that its name says";
}

TEST_F(CheckpointStoreTest, OnlyBrokenOnesAreAnErrorWithReasons) {
  damage(save(1) / "state.json");
  fs::remove(save(2) / "manifest.json");
  try {
    store_.newest_complete();
    ADD_FAILURE();
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("step_00000001"));
    EXPECT_THAT(error.what(), HasSubstr("state.json is damaged"));
    EXPECT_THAT(error.what(), HasSubstr("step_00000002"));
    EXPECT_THAT(error.what(), HasSubstr("no manifest.json"));
  }
}

TEST_F(CheckpointStoreTest, RetentionNeverTouchesTheNewestWholeOne) {
  for (const int64_t step : {1, 2, 3, 4}) save(step);
  store_.retain({.last = 0});
  EXPECT_EQ(entries().size(), 4u);
  store_.retain({.last = 2});
  EXPECT_EQ(steps(), (std::vector<int64_t>{3, 4}));
  damage(folder_ / "checkpoints/step_00000004/state.json");  // still looks whole
  fs::create_directories(folder_ / "checkpoints/step_00000005");
  fs::create_directories(folder_ / "checkpoints/.writing_step_00000006_abc");
  fs::create_directories(folder_ / "checkpoints/.removing_step_00000001");
  store_.retain({.last = 1});
  EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000003", "step_00000004", "step_00000005"}));
  EXPECT_EQ(newest_step(), 3);
  save(6);
  store_.retain({.last = 1}, folder_ / "checkpoints/step_00000006");
  EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000006"}));
}

TEST_F(CheckpointStoreTest, RetentionKeepsTheLastEveryKthAndTheBest) {
  const std::vector<std::optional<double>> losses = {3.0, 1.0, {}, 1.5, 0.5, 4.0, 4.0, 2.0, 5.0, {}};
  for (int64_t step = 1; step <= 10; ++step) save(step, losses[static_cast<size_t>(step - 1)]);
  damage(folder_ / "checkpoints/step_00000002/manifest.json");
  fs::resize_file(folder_ / "checkpoints/step_00000005/state.json", 2);  // the best is damaged: the next best counts
  store_.retain({.last = 2, .every = 3, .best = 2});
  EXPECT_EQ(steps(), (std::vector<int64_t>{3, 4, 6, 8, 9, 10}));
}

// The process vanishes at each point of writing; what the next one finds is whole, and not older than before.
TEST_F(CheckpointStoreTest, KilledAnywhereTheLastWholeOneLoads) {
  const auto points = points_of([&] { save(2); });
  ASSERT_GE(points.size(), 14u);
  for (const std::string& stop : points) {
    SCOPED_TRACE(stop);
    fs::remove_all(folder_ / "checkpoints");
    save(1);
    killed_at(stop, [&] { save(2); });
    const bool renamed = stop == "renamed" || stop == "durable";
    EXPECT_EQ(newest_step(), renamed ? 2 : 1);
    save(2);
    store_.retain({.last = 5});
    EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000001", "step_00000002"}));
    EXPECT_EQ(newest_step(), 2);
  }
}

// The same where the only checkpoint is written again: one of the two is always there.
TEST_F(CheckpointStoreTest, KilledWhileReplacingOneOfThemLoads) {
  save(1);
  const auto points = points_of([&] { save(1); });
  ASSERT_NE(std::find(points.begin(), points.end(), "replaced"), points.end());
  for (const std::string& stop : points) {
    SCOPED_TRACE(stop);
    fs::remove_all(folder_ / "checkpoints");
    save(1);
    killed_at(stop, [&] { save(1); });
    EXPECT_EQ(newest_step(), 1);
    store_.retain({.last = 1});
    EXPECT_EQ(newest_step(), 1);
    save(1);
    store_.retain({.last = 1});
    EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
  }
}

TEST_F(CheckpointStoreTest, KilledDuringRetentionNothingThatShallStayIsLost) {
  const auto fill = [&] {
    fs::remove_all(folder_ / "checkpoints");
    for (const int64_t step : {1, 2, 3, 4}) save(step);
  };
  fill();
  const auto points = points_of([&] { store_.retain({.last = 2}); });
  EXPECT_EQ(points, (std::vector<std::string>{"removing", "removed", "removing", "removed"}));
  for (const char* stop : {"removing", "removed"}) {
    SCOPED_TRACE(stop);
    fill();
    killed_at(stop, [&] { store_.retain({.last = 2}); });
    EXPECT_EQ(newest_step(), 4);
    for (const fs::path& path : store_.list()) EXPECT_NO_THROW(open_checkpoint(path));
    store_.retain({.last = 2});
    EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000003", "step_00000004"}));
  }
}

TEST_F(CheckpointStoreTest, AFailureAtAnyPointLeavesEarlierOnesAndNothingElse) {
  const auto points = points_of([&] { save(2); });
  for (const std::string& stop : points) {
    SCOPED_TRACE(stop);
    fs::remove_all(folder_ / "checkpoints");
    save(1);
    store_.set_observer(save_faults("fail at " + stop, 0));
    EXPECT_THROW(save(2), base::FileError);
    store_.set_observer({});
    const bool stands = stop == "renamed" || stop == "durable";
    EXPECT_EQ(entries().size(), stands ? 2u : 1u);
    EXPECT_EQ(newest_step(), stands ? 2 : 1);
  }
}

// 0 where save() fails with FileError that gives the reason.
int save_fails(const CheckpointStore& store, const States& states, const std::string& reason) {
  try {
    store.save({"run-1", 2, {}}, states);
  } catch (const base::FileError& error) {
    return std::string(error.what()).find(reason) == std::string::npos ? 2 : 0;
  } catch (...) {
    return 3;
  }
  return 1;
}

TEST_F(CheckpointStoreTest, AFileSizeLimitLeavesEarlierOnesIntact) {
  save(1);
  optimizer_.dict.tensors["exp_avg"] = tensor_of(std::vector<float>(100000));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{100000, 100000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(99);
    ::_exit(save_fails(store_, states(), "File too large"));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
  EXPECT_EQ(newest_step(), 1);
}

// A small file system in the place of the checkpoints' folder.
class DiskTest : public CheckpointStoreTest {
 protected:
  void SetUp() override {
    fs::create_directories(disk_);
    if (::mount("tmpfs", disk_.c_str(), "tmpfs", 0, "size=256k") != 0) {
      GTEST_SKIP() << "mounting a small file system is not permitted here: " << std::strerror(errno);
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (mounted_) ::umount2(disk_.c_str(), MNT_DETACH);
  }
  const fs::path disk_ = folder_ / "checkpoints";
  bool mounted_ = false;
};

TEST_F(DiskTest, AFullDiskLeavesEarlierOnesIntact) {
  save(1);
  optimizer_.dict.tensors["exp_avg"] = tensor_of(std::vector<float>(100000));
  EXPECT_EQ(save_fails(store_, states(), "No space left"), 0);
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
  EXPECT_EQ(newest_step(), 1);
}

TEST_F(DiskTest, AReadOnlyDiskLeavesEarlierOnesIntact) {
  save(1);
  ASSERT_EQ(::mount("tmpfs", disk_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0) << std::strerror(errno);
  EXPECT_EQ(save_fails(store_, states(), "Read-only file system"), 0);
  EXPECT_EQ(newest_step(), 1);
}

TEST_F(CheckpointStoreTest, AVanishedFolderIsMadeAgain) {
  save(1);
  fs::remove_all(folder_ / "checkpoints");
  save(2);
  EXPECT_EQ(newest_step(), 2);
}

TEST(SaveFaultTest, SpecificationsAreReadAndWrongOnesRefused) {
  EXPECT_FALSE(save_faults("", 0));
  EXPECT_FALSE(save_faults("fail at renamed rank 1", 0));
  const SaveObserver observer = save_faults("fail at written rank 0 save 2; sleep 1 at renamed", 0);
  observer("snapshot");
  EXPECT_NO_THROW(observer("written:state.json"));
  observer("snapshot");
  EXPECT_NO_THROW(observer("writing:state.json"));
  EXPECT_THROW(observer("written:state.json"), base::FileError);
  for (const char* wrong :
       {"kil at renamed", "kill", "kill renamed", "sleep at x", "kill at x rank", "kill at x y 1"}) {
    EXPECT_THROW(save_faults(wrong, 0), base::ConfigError) << wrong;
  }
}

}  // namespace
}  // namespace rosa::training
