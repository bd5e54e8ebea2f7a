// Saves of the real program that are killed, run out of disk, or are damaged: after each, training went on or ended as
// documented (docs/running.md), the last whole checkpoint loads, and the run ends in the bytes of an undisturbed one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include "tests/support/job.h"
#include "tests/support/tiny_run.h"
#include "training/checkpoint_store.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;
using testing::Job;
using testing::JobOptions;
using testing::JobResult;
using testing::TinyRun;

constexpr int kNumSteps = 6;

std::string adapter_bytes(const TinyRun& run) {
  return testing::text_of_file(run.checkpoint(kNumSteps) / kAdapterFile);
}

class CheckpointFaultTest : public ::testing::Test {
 protected:
  // The bytes at the end of a run that nothing disturbs.
  static const std::string& undisturbed() {
    static const std::string bytes = [] {
      const testing::TemporaryFolder folder;
      const TinyRun run(folder / "run", kNumSteps);
      const JobResult result = testing::run_job(run.train_command());
      EXPECT_EQ(result.exit_code, 0) << result.output;
      return adapter_bytes(run);
    }();
    return bytes;
  }

  static JobResult train(const TinyRun& run, int num_ranks, const std::string& faults = "",
                         const std::vector<std::string>& overrides = {}) {
    JobOptions options;
    options.num_ranks = num_ranks;
    if (!faults.empty()) options.environment["ROSA_SAVE_FAULT"] = faults;
    JobResult result = testing::run_job(run.train_command(overrides), options);
    EXPECT_FALSE(result.timed_out) << result.output;
    EXPECT_TRUE(result.orphans.empty()) << result.orphans.front();
    return result;
  }

  // Runs the program with shell commands before it on rank 1 only, in a mount namespace of its own.
  static JobResult train_with_broken_rank(const TinyRun& run, const std::string& commands) {
    const fs::path script = run.folder().string() + "_rank.sh";
    std::ofstream(script) << "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ] && [ -z \"$BROKEN\" ]; then\n"
                          << "  BROKEN=1 exec unshare --mount sh \"$0\" \"$@\"\nfi\n"
                          << "if [ -n \"$BROKEN\" ]; then\n"
                          << commands << "\nfi\nexec \"$@\"\n";
    std::vector<std::string> command = run.train_command();
    command.insert(command.begin(), {"sh", script.string()});
    JobOptions options;
    options.num_ranks = 2;
    JobResult result = testing::run_job(command, options);
    EXPECT_FALSE(result.timed_out) << result.output;
    return result;
  }

  static int64_t newest_step(const TinyRun& run) {
    const auto newest = CheckpointStore(run.folder() / "checkpoints").newest_complete();
    return newest ? newest->manifest().info.step : -1;
  }

  // The same command again, on another number of ranks, ends as if nothing had been.
  static void expect_goes_on(const TinyRun& run, int num_ranks = 1) {
    const JobResult result = train(run, num_ranks);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_TRUE(adapter_bytes(run) == undisturbed());
    const std::string metrics = testing::text_of_file(run.folder() / "metrics.jsonl");
    EXPECT_EQ(std::count(metrics.begin(), metrics.end(), '\n'), kNumSteps) << "each step stands once:\n" << metrics;
    for (const auto& entry : fs::directory_iterator(run.folder() / "checkpoints")) {
      EXPECT_THAT(entry.path().filename().string(), AnyOf(HasSubstr("step_"), Eq("set_aside")))
          << "nothing half-written stays";
    }
  }

  // Rank `rank` gets SIGKILL at `point` of the second save (of step 4).
  void expect_survives_kill(const std::string& point, int rank) {
    SCOPED_TRACE("rank " + std::to_string(rank) + " killed at " + point);
    const TinyRun run(folder_ / ("kill_" + std::to_string(rank) + "_" + point.substr(0, point.find(':'))), kNumSteps);
    const JobResult killed = train(run, 2, "kill at " + point + " rank " + std::to_string(rank) + " save 2",
                                   {"checkpoint.keep_last=" + std::to_string(point.starts_with("remov") ? 1 : 2)});
    EXPECT_NE(killed.exit_code, 0) << killed.output;
    const bool stands = point == "renamed" || point == "durable" || point == "recorded" || point == "retained" ||
                        point == "removing" || point == "removed";
    EXPECT_EQ(newest_step(run), stands ? 4 : 2);
    expect_goes_on(run);
  }

  const testing::TemporaryFolder folder_;
};

const std::vector<std::string> kPointsOfEveryRank = {"snapshot", "folder", "writing", "written", "share"};
const std::vector<std::string> kPointsOfRankZero = {"gathered", "manifest", "synced",  "renamed", "durable",
                                                    "recorded", "removing", "removed", "retained"};

TEST_F(CheckpointFaultTest, ShortSelectionOfKills) {
  expect_survives_kill("written", 1);
  expect_survives_kill("manifest", 0);
  expect_survives_kill("removing", 0);
}

TEST_F(CheckpointFaultTest, LongEveryRankKilledAtEveryPoint) {
  for (const int rank : {0, 1}) {
    for (const std::string& point : kPointsOfEveryRank) expect_survives_kill(point, rank);
  }
  for (const std::string& point : kPointsOfRankZero) expect_survives_kill(point, 0);
}

// The checkpoint of a step that is there already, but damaged, is replaced: killed in the middle of that.
TEST_F(CheckpointFaultTest, LongKilledWhileReplacingADamagedOne) {
  const TinyRun run(folder_ / "replace", kNumSteps);
  ASSERT_EQ(train(run, 2, "", {"checkpoint.keep_last=0"}).exit_code, 0);
  fs::resize_file(run.checkpoint(4) / "state.json", 7);
  fs::resize_file(run.checkpoint(6) / "state.json", 7);
  const JobResult killed = train(run, 2, "kill at replaced rank 0");
  EXPECT_NE(killed.exit_code, 0);
  EXPECT_THAT(killed.output, HasSubstr("skipped a checkpoint"));
  EXPECT_EQ(newest_step(run), 2);
  expect_goes_on(run, 2);
}

TEST_F(CheckpointFaultTest, ShortASaveLongerThanTheIntervalIsWaitedFor) {
  const TinyRun run(folder_ / "slow", kNumSteps);
  const JobResult result = train(run, 2, "sleep 100 at written", {"checkpoint.every=1", "checkpoint.keep_last=0"});
  EXPECT_EQ(result.exit_code, 0) << result.output;
  for (int step = 1; step <= kNumSteps; ++step) EXPECT_EQ(verify_checkpoint(run.checkpoint(step)).step, step);
  EXPECT_TRUE(adapter_bytes(run) == undisturbed());
}

TEST_F(CheckpointFaultTest, ShortASecondSignalDuringASaveDoesNotHarmIt) {
  const TinyRun run(folder_ / "signal", kNumSteps);
  const JobResult result = train(run, 2, "signal 10 at writing save 1; signal 15 at written; signal 10 at manifest");
  EXPECT_EQ(result.exit_code, 75) << result.output;
  EXPECT_GE(newest_step(run), 2);
  expect_goes_on(run);
}

TEST_F(CheckpointFaultTest, LongInterruptedTwiceDuringASaveTheEarlierOneLoads) {
  const TinyRun run(folder_ / "interrupt", kNumSteps);
  const JobResult result = train(run, 2, "signal 2 at writing save 2; signal 2 at share save 2");
  EXPECT_NE(result.exit_code, 0) << result.output;
  EXPECT_GE(newest_step(run), 2);
  expect_goes_on(run);
}

TEST_F(CheckpointFaultTest, LongAFailedSaveIsAWarningAndTrainingGoesOn) {
  for (const char* rank : {"0", "1"}) {
    const TinyRun run(folder_ / (std::string("warning_") + rank), kNumSteps);
    const JobResult result = train(run, 2, std::string("fail at written save 2 rank ") + rank);
    EXPECT_EQ(result.exit_code, 0) << result.output;
    EXPECT_THAT(result.output,
                HasSubstr(std::string("the checkpoint of step 4 was not saved, training goes on: rank ") + rank +
                          ": a fault on demand"));
    EXPECT_FALSE(fs::exists(run.checkpoint(4)));
    EXPECT_TRUE(adapter_bytes(run) == undisturbed());
  }
}

TEST_F(CheckpointFaultTest, LongTooManyFailedSavesEndTheRun) {
  const TinyRun run(folder_ / "too_many", kNumSteps);
  const JobResult result = train(run, 2, "fail at written rank 1", {"checkpoint.max_failed_saves=1"});
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(result.output, HasSubstr("2 saves in a row failed"));
  EXPECT_EQ(newest_step(run), -1);
  expect_goes_on(run);
}

TEST_F(CheckpointFaultTest, ShortOnlyDamagedCheckpointsAreNoFreshStart) {
  const TinyRun run(folder_ / "damaged", kNumSteps);
  ASSERT_EQ(train(run, 0).exit_code, 0);
  for (const int step : {4, 6}) fs::resize_file(run.checkpoint(step) / "state_0000.safetensors", 100);
  const JobResult result = train(run, 2);
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(result.output, HasSubstr("none of 2 checkpoints"));
  EXPECT_THAT(result.output, HasSubstr("state_0000.safetensors is damaged"));
  fs::remove_all(run.folder() / "checkpoints");
  EXPECT_EQ(train(run, 0).exit_code, 4) << "nor are checkpoints that vanished";
}

// Cases that need a file system of their own.
class DiskFaultTest : public CheckpointFaultTest {
 protected:
  void SetUp() override {
    // Mounts are seen by this process and the jobs it starts, and vanish with it.
    static const bool is_private =
        ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (!is_private) GTEST_SKIP() << "mounting is not permitted here: " << std::strerror(errno);
  }

  // A small file system for the checkpoints of a run.
  fs::path mount_disk(const TinyRun& run, const char* options) {
    const fs::path folder = run.folder() / "checkpoints";
    fs::create_directories(folder);
    EXPECT_EQ(::mount("tmpfs", folder.c_str(), "tmpfs", 0, options), 0) << std::strerror(errno);
    return folder;
  }
  static void remount(const fs::path& folder, unsigned long flags, const char* options) {
    EXPECT_EQ(::mount("tmpfs", folder.c_str(), nullptr, MS_REMOUNT | flags, options), 0) << std::strerror(errno);
  }
};

TEST_F(DiskFaultTest, ShortAFullDiskIsAWarningUntilTheLastSave) {
  const TinyRun run(folder_ / "full", kNumSteps);
  const fs::path disk = mount_disk(run, "size=200k");  // room for one checkpoint
  const JobResult result = train(run, 2);
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(result.output, HasSubstr("the checkpoint of step 4 was not saved, training goes on: rank "));
  EXPECT_THAT(result.output, HasSubstr("the last save of the run failed"));
  EXPECT_THAT(result.output, HasSubstr("No space left on device"));
  EXPECT_EQ(newest_step(run), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(disk), {}), 1) << "what failed is removed";
  remount(disk, 0, "size=10m");
  expect_goes_on(run);
  ::umount2(disk.c_str(), MNT_DETACH);
}

TEST_F(DiskFaultTest, LongAReadOnlyDiskIsAWarningUntilTheLastSave) {
  const TinyRun run(folder_ / "read_only", kNumSteps);
  const fs::path disk = mount_disk(run, "size=10m");
  ASSERT_EQ(train(run, 1, "", {"train.num_steps=6"}).exit_code, 0);
  fs::remove_all(run.checkpoint(6));
  remount(disk, MS_RDONLY, "size=10m");
  const JobResult result = train(run, 2);
  EXPECT_EQ(result.exit_code, 4) << result.output;
  EXPECT_THAT(result.output, HasSubstr("Read-only file system"));
  EXPECT_EQ(newest_step(run), 4);
  remount(disk, 0, "size=10m");
  expect_goes_on(run);
  ::umount2(disk.c_str(), MNT_DETACH);
}

TEST_F(DiskFaultTest, LongAFolderThatVanishesIsMadeAgain) {
  const TinyRun run(folder_ / "vanished", kNumSteps);
  JobOptions options;
  options.num_ranks = 2;
  options.environment["ROSA_SAVE_FAULT"] = "sleep 3000 at folder save 2";
  Job job(run.train_command(), options);
  ASSERT_TRUE(job.wait_for_path(run.checkpoint(2)));
  // The job may be making folders in it.
  std::error_code error;
  do {
    fs::remove_all(run.folder() / "checkpoints", error);
  } while (error);
  const JobResult result = job.wait();
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(newest_step(run), kNumSteps);
  EXPECT_TRUE(adapter_bytes(run) == undisturbed());
}

// What breaks on rank 1 alone: the save fails on all, the run ends with 4, and the checkpoint from before loads.
TEST_F(DiskFaultTest, LongADiskThatIsBrokenOnOneRankOnly) {
  const std::map<std::string, std::pair<std::string, std::string>> cases = {
      {"read_only", {"mount --bind C C && mount -o remount,bind,ro C", "Read-only file system"}},
      {"full",
       {"mount -t tmpfs -o size=8k none C && mkdir C/step_00000004 && mount --bind D/step_00000004 C/step_00000004",
        "No space left on device"}},
      {"vanished",
       {"mount -t tmpfs -o size=10m none C && mkdir C/step_00000004 && mount --bind D/step_00000004 "
        "C/step_00000004",
        "file system that all ranks share"}},
      {"file_size", {"trap '' XFSZ; ulimit -f 24", "File too large"}}};
  const TinyRun start(folder_ / "start", kNumSteps);
  ASSERT_EQ(train(start, 1).exit_code, 0);
  fs::remove_all(start.checkpoint(6));
  for (const auto& [name, what] : cases) {
    SCOPED_TRACE(name);
    const TinyRun run(folder_ / name, kNumSteps);
    fs::copy(start.folder(), run.folder(), fs::copy_options::recursive);
    const fs::path twin = folder_ / (name + "_twin");  // what the rank may still read
    fs::copy(run.folder() / "checkpoints", twin, fs::copy_options::recursive);
    std::string commands = what.first;
    for (const auto& [letter, path] : {std::pair(" C", run.folder() / "checkpoints"), std::pair(" D", twin)}) {
      for (size_t at; (at = commands.find(letter)) != std::string::npos;) {
        commands.replace(at, 2, " '" + path.string() + "'");
      }
    }
    const JobResult result = train_with_broken_rank(run, commands);
    EXPECT_EQ(result.exit_code, 4) << result.output;
    EXPECT_THAT(result.output, HasSubstr(what.second));
    EXPECT_EQ(newest_step(run), 4);
    expect_goes_on(run);
  }
}

TEST_F(DiskFaultTest, ShortDamageThatOneRankSeesMakesAllFallBack) {
  const TinyRun run(folder_ / "one_rank", kNumSteps);
  ASSERT_EQ(train(run, 1, "", {"checkpoint.keep_last=0"}).exit_code, 0);
  fs::remove_all(run.checkpoint(6));
  const fs::path damaged = folder_ / "damaged";
  fs::copy_file(run.checkpoint(4) / kAdapterFile, damaged);
  std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-5, std::ios::end);
  file.put('\x55');
  file.close();
  const JobResult result = train_with_broken_rank(
      run, "mount --bind '" + damaged.string() + "' '" + (run.checkpoint(4) / kAdapterFile).string() + "'");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("skipped a checkpoint: rank 1: "));
  EXPECT_THAT(result.output, HasSubstr("adapter.safetensors is damaged"));
  EXPECT_THAT(result.output, HasSubstr("after 2 of 6 steps"));
  EXPECT_TRUE(adapter_bytes(run) == undisturbed());
}

}  // namespace
}  // namespace rosa::training
