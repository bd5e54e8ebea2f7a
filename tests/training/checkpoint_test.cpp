#include "training/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/safetensors.h"
#include "tests/support/temporary_folder.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

base::StateTensor tensor_of(std::vector<float> numbers) {
  base::StateTensor tensor{"F32", {static_cast<int64_t>(numbers.size())}, {}};
  const auto bytes = std::as_bytes(std::span(numbers));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

// A state that is nothing but its dictionary.
class PlainState : public base::Stateful {
 public:
  base::StateDict save_state() const override { return dict; }
  void load_state(const base::StateDict& state) override {
    for (const auto& [name, tensor] : dict.tensors) {
      base::require<base::CheckpointError>(state.tensors.count(name) != 0, "tensor '", name, "' is missing");
    }
    dict = state;
  }
  base::StateDict dict;
};

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() : store_(folder_ / "checkpoints", "run-1") {
    adapter_.dict.tensors["model.layers.0.self_attn.rosa_attn.q_proj.weight"] = tensor_of({1, 2, 3});
    optimizer_.dict.tensors["exp_avg"] = tensor_of({0.25f, -0.0f});
    optimizer_.dict.values["steps"] = int64_t{7};
  }

  std::map<std::string, const base::Stateful*> states() const {
    return {{"adapter", &adapter_}, {"optimizer", &optimizer_}};
  }
  std::filesystem::path save(int64_t step) {
    optimizer_.dict.values["steps"] = step;
    return store_.save(step, states(), {{"config.yaml", "a: 1\n"}});
  }
  // The step that newest_complete() finds, by what it loads; -1 for none.
  int64_t newest_step() const {
    const auto path = store_.newest_complete();
    if (!path) return -1;
    PlainState optimizer;
    store_.load(*path, {{"optimizer", &optimizer}});
    return std::get<int64_t>(optimizer.dict.values.at("steps"));
  }
  void damage(const std::filesystem::path& path) const {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char last = static_cast<char>(file.get());
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last ^ 1));
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "checkpoints")) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  rosa::testing::TemporaryFolder folder_;
  CheckpointStore store_;
  PlainState adapter_, optimizer_;
};

TEST_F(CheckpointTest, ReturnsEverythingBitForBit) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  optimizer_.dict.values["third"] = 1.0 / 3;
  optimizer_.dict.values["whole"] = 2.0;
  optimizer_.dict.values["infinite"] = -std::numeric_limits<double>::infinity();
  optimizer_.dict.values["nan"] = nan;
  optimizer_.dict.values["text"] = std::string("quotes \" and {}");
  optimizer_.dict.values["least"] = std::numeric_limits<int64_t>::min();
  const auto path = store_.save(100, states(), {{"config.yaml", "a: 1\n"}});
  EXPECT_EQ(path.filename(), "step_00000100");
  EXPECT_EQ(store_.newest_complete(), path);
  EXPECT_EQ(base::read_file(path / "config.yaml", 100), "a: 1\n");
  EXPECT_EQ(verify_checkpoint(path).step, 100);
  EXPECT_EQ(verify_checkpoint(path).run_id, "run-1");

  PlainState adapter, optimizer;
  store_.load(path, {{"adapter", &adapter}, {"optimizer", &optimizer}});
  for (const auto& [loaded, saved] : {std::pair(&adapter, &adapter_), std::pair(&optimizer, &optimizer_)}) {
    ASSERT_EQ(loaded->dict.tensors.size(), saved->dict.tensors.size());
    for (const auto& [name, tensor] : saved->dict.tensors) {
      EXPECT_EQ(loaded->dict.tensors[name].dtype, tensor.dtype);
      EXPECT_EQ(loaded->dict.tensors[name].shape, tensor.shape);
      EXPECT_EQ(loaded->dict.tensors[name].bytes, tensor.bytes);
    }
  }
  EXPECT_TRUE(std::isnan(std::get<double>(optimizer.dict.values["nan"])));
  optimizer.dict.values.erase("nan");
  optimizer_.dict.values.erase("nan");
  EXPECT_EQ(optimizer.dict.values, optimizer_.dict.values);
}

TEST_F(CheckpointTest, AdapterHasItsOwnFileWithItsOwnNames) {
  const auto path = save(1);
  const base::SafetensorsFile adapter(path / "adapter.safetensors");
  EXPECT_EQ(adapter.tensors().size(), 1u);
  EXPECT_TRUE(adapter.contains("model.layers.0.self_attn.rosa_attn.q_proj.weight"));
  EXPECT_TRUE(base::SafetensorsFile(path / "state.safetensors").contains("optimizer/exp_avg"));
}

TEST_F(CheckpointTest, NewestWholeOneIsFound) {
  EXPECT_EQ(newest_step(), -1);
  save(5);
  save(100000000);
  save(20);
  EXPECT_EQ(newest_step(), 100000000);
  std::filesystem::create_directories(folder_ / "checkpoints/step_x");
  std::filesystem::create_directories(folder_ / "checkpoints/other");
  EXPECT_EQ(newest_step(), 100000000);
  EXPECT_EQ(store_.list().size(), 3u);
}

TEST_F(CheckpointTest, EveryDamageIsSeenAndSkipped) {
  save(1);
  for (const char* name : {"adapter.safetensors", "state.safetensors", "state.json", "config.yaml", "manifest.json"}) {
    const auto path = save(2);
    EXPECT_EQ(newest_step(), 2);
    if (std::string(name) == "manifest.json") {
      std::string text = base::read_file(path / name, 10000);
      text.replace(text.find("\"step\": 2"), 9, "\"step\": 3");
      base::write_file_atomically(path / name, text);
    } else {
      damage(path / name);
    }
    EXPECT_EQ(newest_step(), 1) << name;
    EXPECT_THROW(store_.load(path, {}), base::CheckpointError);
    save(2);
    std::filesystem::remove(path / name);
    EXPECT_EQ(newest_step(), 1) << name;
    save(2);
    std::filesystem::resize_file(path / name, 3);
    EXPECT_EQ(newest_step(), 1) << name;
  }
}

TEST_F(CheckpointTest, OnlyBrokenOnesAreAnErrorWithReasons) {
  damage(save(1) / "state.json");
  std::filesystem::remove(save(2) / "manifest.json");
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

TEST_F(CheckpointTest, ErrorsNameTheEntry) {
  const auto path = save(1);
  PlainState other;
  try {
    store_.load(path, {{"schedules", &other}});
    ADD_FAILURE();
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'schedules'"));
  }
  other.dict.tensors["exp_avg_sq"] = tensor_of({1});
  try {
    store_.load(path, {{"optimizer", &other}});
    ADD_FAILURE();
  } catch (const base::CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'optimizer'"));
    EXPECT_THAT(error.what(), HasSubstr("'exp_avg_sq'"));
  }
  EXPECT_THROW(store_.load(folder_ / "absent", {}), base::CheckpointError);
  EXPECT_THROW(save(-1), base::ArgumentError);
  EXPECT_THROW(store_.save(2, states(), {{"manifest.json", ""}}), base::ArgumentError);
  EXPECT_THROW(store_.save(2, states(), {{"../x", ""}}), base::ArgumentError);
  optimizer_.dict.values["text"] = std::string("\xff");
  EXPECT_THROW(save(2), base::CheckpointError);
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
}

TEST_F(CheckpointTest, RetentionNeverTouchesTheNewestWholeOne) {
  for (int64_t step : {1, 2, 3, 4}) save(step);
  store_.keep_last(0);
  EXPECT_EQ(entries().size(), 4u);
  store_.keep_last(2);
  EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000003", "step_00000004"}));
  damage(folder_ / "checkpoints/step_00000004/state.json");
  std::filesystem::create_directories(folder_ / "checkpoints/step_00000005");
  std::filesystem::create_directories(folder_ / "checkpoints/.writing_step_00000006");
  store_.keep_last(1);
  EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000003", "step_00000005"}));
  EXPECT_EQ(newest_step(), 3);
}

// The names of the points that save() passes.
std::vector<std::string> points_of(CheckpointStore store, const std::map<std::string, const base::Stateful*>& states,
                                   int64_t step) {
  std::vector<std::string> points;
  store.set_observer([&](std::string_view point) { points.emplace_back(point); });
  store.save(step, states, {{"config.yaml", ""}});
  return points;
}

// The process vanishes at each point of writing; what the next one finds is whole, and not older than before.
TEST_F(CheckpointTest, InterruptedAnywhereTheLastWholeOneLoads) {
  const auto points = points_of(CheckpointStore(folder_ / "elsewhere"), states(), 2);
  ASSERT_GE(points.size(), 8u);
  for (const std::string& stop : points) {
    std::filesystem::remove_all(folder_ / "checkpoints");
    save(1);
    optimizer_.dict.values["steps"] = int64_t{2};
    const pid_t child = ::fork();
    if (child == 0) {
      store_.set_observer([&](std::string_view point) {
        if (point == stop) ::_exit(7);
      });
      store_.save(2, states(), {{"config.yaml", ""}});
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(WEXITSTATUS(status), 7) << stop;
    const bool renamed = stop == "renamed" || stop == "durable";
    EXPECT_EQ(newest_step(), renamed ? 2 : 1) << stop;
    save(2);
    store_.keep_last(5);
    EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000001", "step_00000002"})) << stop;
    EXPECT_EQ(newest_step(), 2) << stop;
  }
}

// The same where the only checkpoint is written again: one of the two is always there.
TEST_F(CheckpointTest, InterruptedWhileReplacingOneOfThemLoads) {
  points_of(CheckpointStore(folder_ / "elsewhere"), states(), 1);
  const auto points = points_of(CheckpointStore(folder_ / "elsewhere"), states(), 1);
  ASSERT_NE(std::find(points.begin(), points.end(), "replaced"), points.end());
  for (const std::string& stop : points) {
    std::filesystem::remove_all(folder_ / "checkpoints");
    store_.save(1, states(), {});
    const pid_t child = ::fork();
    if (child == 0) {
      store_.set_observer([&](std::string_view point) {
        if (point == stop) ::_exit(7);
      });
      store_.save(1, states(), {{"config.yaml", ""}});
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_EQ(WEXITSTATUS(status), 7) << stop;
    EXPECT_NE(newest_step(), -1) << stop;
    store_.keep_last(1);
    EXPECT_NE(newest_step(), -1) << stop;
    store_.save(1, states(), {});
    store_.keep_last(1);
    EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"}) << stop;
  }
}

// save() fails with FileError; the earlier checkpoint is whole and nothing else is there.
int save_fails_cleanly(const CheckpointStore& store, const std::map<std::string, const base::Stateful*>& states,
                       const std::string& reason) {
  try {
    store.save(2, states, {});
  } catch (const base::FileError& error) {
    return std::string(error.what()).find(reason) == std::string::npos ? 2 : 0;
  } catch (...) {
    return 3;
  }
  return 1;
}

TEST_F(CheckpointTest, FailingWriteLeavesEarlierOnesIntact) {
  save(1);
  optimizer_.dict.tensors["exp_avg"] = tensor_of(std::vector<float>(100000));
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{100000, 100000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(99);
    ::_exit(save_fails_cleanly(store_, states(), "File too large"));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
  EXPECT_EQ(newest_step(), 1);
}

TEST_F(CheckpointTest, FullDiskLeavesEarlierOnesIntact) {
  const auto disk = folder_ / "checkpoints";
  std::filesystem::create_directories(disk);
  if (::mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "mounting a small file system is not permitted here: " << std::strerror(errno);
  }
  save(1);
  optimizer_.dict.tensors["exp_avg"] = tensor_of(std::vector<float>(100000));
  const int result = save_fails_cleanly(store_, states(), "No space left");
  const auto names = entries();
  const int64_t step = newest_step();
  ::umount(disk.c_str());
  EXPECT_EQ(result, 0);
  EXPECT_EQ(names, std::vector<std::string>{"step_00000001"});
  EXPECT_EQ(step, 1);
}

}  // namespace
}  // namespace rosa::training
