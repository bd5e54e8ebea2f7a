// A run folder whose disk is full, or whose files vanish under the run: what can go on goes on and says so, nothing
// that was saved is lost, and the same command goes on from there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/folder_lock.h"
#include "tests/support/job.h"
#include "tests/support/texts.h"
#include "tests/support/tiny_run.h"

namespace rosa::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kExitOk = 0, kExitCheckpoint = 4, kExitFileSystem = 7;

// Every step of a file of one JSON object a line stands there once.
void expect_each_step_once(const fs::path& file, int num_steps) {
  const std::string text = text_of_file(file);
  for (int step = 0; step < num_steps; ++step) {
    EXPECT_EQ(count_of(text, "\"step\":" + std::to_string(step) + ","), 1) << "step " << step << " in " << file;
  }
}

class FullDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Mounts are seen by this process and the jobs it starts, and vanish with it.
    static const bool is_private =
        ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (!is_private) GTEST_SKIP() << "mounting is not permitted here: " << std::strerror(errno);
  }
  void TearDown() override {
    for (const fs::path& disk : disks_) ::umount2(disk.c_str(), MNT_DETACH);
  }

  // The whole run folder is on a file system of that size.
  void mount_disk(const TinyRun& run, const char* size) {
    fs::create_directories(run.folder());
    ASSERT_EQ(::mount("tmpfs", run.folder().c_str(), "tmpfs", 0, size), 0) << std::strerror(errno);
    disks_.push_back(run.folder());
  }
  static void resize(const TinyRun& run, const char* size) {
    ASSERT_EQ(::mount("tmpfs", run.folder().c_str(), nullptr, MS_REMOUNT, size), 0) << std::strerror(errno);
  }
  static void fill(const fs::path& file) {
    fs::create_directories(file.parent_path());
    std::ofstream out(file, std::ios::binary);
    const std::string block(4096, 'x');
    while (out << block << std::flush) {
    }
  }

  const TemporaryFolder folder_;
  std::vector<fs::path> disks_;
};

TEST_F(FullDiskTest, MetricsAndLogsThatFindNoSpaceDoNotEndTheRun) {
  constexpr int kNumSteps = 200;
  const TinyRun run(folder_ / "run", kNumSteps, "");
  mount_disk(run, "size=120k");  // metrics.jsonl alone would take more
  const std::vector<std::string> command =
      run.train_command({"checkpoint.every=1000", "logging.consumed_samples=true"});
  const JobResult full = run_job(command, {.num_ranks = 2});
  EXPECT_EQ(full.exit_code, kExitCheckpoint) << "to its end, where it must save: " << full.output;
  EXPECT_THAT(full.output, HasSubstr("the last save of the run failed"));
  EXPECT_EQ(count_of(full.output, "can't append to '" + (run.folder() / "metrics.jsonl").string()), 1) << full.output;
  resize(run, "size=20m");
  const JobResult again = run_job(command, {.num_ranks = 2});
  EXPECT_EQ(again.exit_code, kExitOk) << again.output;
  expect_each_step_once(run.folder() / "metrics.jsonl", kNumSteps);
}

TEST_F(FullDiskTest, SpaceThatComesBackIsUsed) {
  constexpr int kNumSteps = 800;
  const TinyRun run(folder_ / "run", kNumSteps);
  mount_disk(run, "size=120k");
  Job job(run.train_command({"checkpoint.every=10000"}));
  ASSERT_TRUE(job.wait_for_output("can't append to ")) << job.output();
  resize(run, "size=20m");
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitOk) << result.output;
  EXPECT_THAT(result.output, HasSubstr("can be written to again"));
  EXPECT_THAT(result.output, Not(HasSubstr("dropped")));
  expect_each_step_once(run.folder() / "metrics.jsonl", kNumSteps);
}

TEST_F(FullDiskTest, WhatAKilledSaveLeftIsRemovedBeforeAnythingIsWritten) {
  const TinyRun run(folder_ / "run", 6);
  mount_disk(run, "size=4m");
  ASSERT_EQ(run_job(run.train_command({"checkpoint.keep_last=0"})).exit_code, kExitOk);
  fs::remove_all(run.checkpoint(6));
  fill(run.folder() / "checkpoints" / ".writing_step_00000006_0badcafe" / "state_0000.safetensors");
  const JobResult result = run_job(run.train_command(), {.num_ranks = 2});
  EXPECT_EQ(result.exit_code, kExitOk) << result.output;
  EXPECT_TRUE(fs::exists(run.checkpoint(6)));
}

TEST_F(FullDiskTest, AResumedRunNeedsNoSpaceToStart) {
  const TinyRun run(folder_ / "run", 6);
  mount_disk(run, "size=4m");
  ASSERT_EQ(run_job(run.train_command({"checkpoint.keep_last=0"})).exit_code, kExitOk);
  fs::remove_all(run.checkpoint(6));
  fill(run.folder() / "filler");
  const JobResult full = run_job(run.train_command(), {.num_ranks = 2});
  EXPECT_EQ(full.exit_code, kExitCheckpoint) << "only the save at its end needs some: " << full.output;
  EXPECT_TRUE(fs::exists(run.checkpoint(4))) << "what was saved stays";
  fs::remove(run.folder() / "filler");
  EXPECT_EQ(run_job(run.train_command(), {.num_ranks = 2}).exit_code, kExitOk);
  expect_each_step_once(run.folder() / "metrics.jsonl", 6);
}

TEST(VanishingFiles, MetricsThatAreRemovedUnderARunAreMadeAnew) {
  const TemporaryFolder folder;
  const TinyRun run(folder / "run", 400);
  Job job(run.train_command({"checkpoint.every=20"}));
  ASSERT_TRUE(job.wait_for_output("saved step")) << job.output();
  fs::remove(run.folder() / "metrics.jsonl");
  fs::rename(run.folder() / "logs", run.folder() / "logs_rotated");
  fs::create_directory(run.folder() / "logs");
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitOk) << result.output;
  EXPECT_THAT(text_of_file(run.folder() / "metrics.jsonl"), HasSubstr("\"step\":399,"));
  EXPECT_THAT(run.log(0), HasSubstr("saved step 400"));
}

TEST(VanishingFiles, AWholeRunFolderThatIsRemovedUnderARunIsMadeAnew) {
  const TemporaryFolder folder;
  const TinyRun run(folder / "run", 400);
  Job job(run.train_command({"checkpoint.every=20", "evaluation.every=400"}));
  ASSERT_TRUE(job.wait_for_output("saved step")) << job.output();
  std::error_code error;  // the run writes meanwhile
  for (int i = 0; i < 100 && fs::exists(run.folder() / "config.yaml"); ++i) fs::remove_all(run.folder(), error);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, kExitOk) << result.output;
  EXPECT_THAT(text_of_file(run.folder() / "config.yaml"), HasSubstr("num_steps: 400"));
  const JobResult eval = run_rosa({"eval", run.folder().string(), "--variants", "rosa"});
  EXPECT_EQ(eval.exit_code, kExitOk) << eval.output;
}

TEST(Leftovers, OfKilledWritersAreRemovedByTheNextStart) {
  const TemporaryFolder folder;
  const TinyRun run(folder / "run", 2);
  ASSERT_EQ(run_job(run.train_command({"logging.consumed_samples=true"})).exit_code, kExitOk);
  const std::vector<std::string> ours = {"config.yaml.tmp-12-ab34", "run.json.tmp-1-0", "metrics.jsonl.tmp-77-1f",
                                         "consumed/rank_0003.jsonl.tmp-5-c"};
  const std::vector<std::string> others = {"scores.json.tmp-12-ab34", "config.yaml.tmp-mine", "run.json.tmp"};
  for (const auto& names : {ours, others}) {
    for (const std::string& name : names) write_text(run.folder() / name, "x");
  }
  fs::create_directory(run.folder() / "config.yaml.tmp-1-1");
  {
    const base::FolderLock lock(run.folder(), std::chrono::milliseconds(0));
    EXPECT_EQ(run_job(run.train_command()).exit_code, kExitFileSystem);
    EXPECT_TRUE(fs::exists(run.folder() / ours.front())) << "another job may be writing it";
  }
  EXPECT_EQ(run_job(run.train_command()).exit_code, kExitOk);
  for (const std::string& name : ours) EXPECT_FALSE(fs::exists(run.folder() / name)) << name;
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(run.folder() / name)) << name;
  EXPECT_TRUE(fs::exists(run.folder() / "config.yaml.tmp-1-1")) << "a folder is nobody's temporary file";
}

TEST(SecondJob, IsKeptOutBeforeItTouchesAnything) {
  const TemporaryFolder folder;
  const TinyRun run(folder / "run", 4);
  fs::create_directories(run.folder() / "logs");
  std::ofstream(run.folder() / "logs" / "rank_0000.log") << "the first job's\n";
  std::ofstream(run.folder() / "trace.json") << "[\n";
  const base::FolderLock lock(run.folder(), std::chrono::milliseconds(0));
  std::vector<std::string> command = run.train_command();
  command.emplace_back("--trace");
  const JobResult result = run_job(command, {.num_ranks = 2});
  EXPECT_EQ(result.exit_code, kExitFileSystem) << result.output;
  EXPECT_THAT(result.output, HasSubstr("is in use by process"));
  EXPECT_EQ(run.log(0), "the first job's\n");
  EXPECT_EQ(text_of_file(run.folder() / "trace.json"), "[\n");
  EXPECT_FALSE(fs::exists(run.folder() / "checkpoints"));
}

}  // namespace
}  // namespace rosa::testing
