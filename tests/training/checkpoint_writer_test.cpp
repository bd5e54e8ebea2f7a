// Saving beside the training on several ranks, and finding where to go on, with ranks as threads.
#include "training/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <latch>
#include <mutex>

#include "base/file.h"
#include "parallel/single_communicator.h"
#include "parallel/thread_communicator.h"
#include "tests/support/plain_state.h"
#include "tests/support/temporary_folder.h"
#include "training/resume.h"
#include "training/save_fault.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::PlainState;
using testing::tensor_of;

// What a rank would train: equal on every rank.
struct Replica {
  explicit Replica(float value = 1.0F) {
    adapter.dict.tensors["weight"] = tensor_of({value, 2, 3});
    for (int i = 0; i < 6; ++i) optimizer.dict.tensors["moment" + std::to_string(i)] = tensor_of({value, 0.5F});
    optimizer.dict.values["steps"] = int64_t{1};
  }
  States states() { return {{"adapter", &adapter}, {"optimizer", &optimizer}}; }
  PlainState adapter, optimizer;
};

float first_weight(const Checkpoint& checkpoint) {
  float value = 0;
  std::memcpy(&value, checkpoint.state("adapter").tensors.at("weight").bytes.data(), sizeof(value));
  return value;
}

WriterOptions small_shards() {
  WriterOptions options;
  options.shard_bytes = 16;
  return options;
}

class CheckpointWriterTest : public ::testing::Test {
 protected:
  // Saves `step` on `num_ranks` ranks, with a fault specification on each; the outcome, the same on all.
  SaveOutcome save(int64_t step, int num_ranks, const std::string& faults = "", float value = 1.0F) {
    std::mutex mutex;
    std::vector<SaveOutcome> outcomes;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      CheckpointWriter writer(communicator, checkpoints_, small_shards(), save_faults(faults, communicator.rank()));
      Replica replica(value);
      writer.start({"run-1", step, {}}, replica.states(), {{"config.yaml", "a: 1\n"}});
      const auto outcome = writer.finish();
      const std::lock_guard lock(mutex);
      ASSERT_TRUE(outcome.has_value());
      outcomes.push_back(*outcome);
    });
    for (const SaveOutcome& outcome : outcomes) {
      EXPECT_EQ(outcome.error, outcomes.front().error);
      EXPECT_EQ(outcome.folder, outcomes.front().folder);
    }
    return outcomes.front();
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    if (!fs::exists(checkpoints_)) return names;
    for (const auto& entry : fs::directory_iterator(checkpoints_)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  // What all ranks find to go on from: its step (-1: a new start), or the error.
  std::string resume(int num_ranks, const std::string& mode = "auto", bool accept_other_run = false) {
    std::mutex mutex;
    std::vector<std::string> found;
    parallel::run_on_thread_ranks(num_ranks, [&](parallel::Communicator& communicator) {
      std::string text;
      try {
        const ResumePoint point = find_resume_point({folder_.path(), mode, accept_other_run}, communicator);
        text = point.checkpoint ? std::to_string(point.checkpoint->manifest().info.step) : "new";
      } catch (const base::CheckpointError& error) {
        text = error.what();
      }
      const std::lock_guard lock(mutex);
      found.push_back(text);
    });
    for (const std::string& text : found) EXPECT_EQ(text, found.front());
    return found.front();
  }

  testing::TemporaryFolder folder_;
  const fs::path checkpoints_ = folder_ / "checkpoints";
};

TEST_F(CheckpointWriterTest, AnyNumberOfRanksSavesTheSameCheckpoint) {
  std::map<std::string, std::string> whole;
  for (const int num_ranks : {1, 2, 3, 4}) {
    const SaveOutcome outcome = save(num_ranks, num_ranks);
    ASSERT_TRUE(outcome.ok()) << outcome.error;
    EXPECT_EQ(verify_checkpoint(outcome.folder).step, num_ranks);
    std::map<std::string, std::string> files;
    for (const auto& entry : read_manifest(outcome.folder).files) {
      files[entry.first] = base::read_file(outcome.folder / entry.first, 1 << 20);
    }
    EXPECT_GT(files.size(), 5u);
    if (num_ranks == 1) whole = files;
    EXPECT_EQ(files, whole);
  }
}

TEST_F(CheckpointWriterTest, TrainingGoesOnWhileTheCopyIsWritten) {
  std::latch may_write(1);
  const auto slow = [&](std::string_view point) {
    if (point == "snapshot") may_write.wait();
  };
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    CheckpointWriter writer(communicator, checkpoints_, small_shards(), slow);
    Replica replica(1.0F);
    writer.start({"run-1", 1, {}}, replica.states(), {});
    replica.adapter.dict.tensors["weight"] = tensor_of({7, 7, 7});
    for (int step = 0; step < 3; ++step) {
      EXPECT_FALSE(writer.poll().has_value());
      EXPECT_TRUE(writer.is_busy());
    }
    EXPECT_FALSE(fs::exists(checkpoints_ / "step_00000001"));
    EXPECT_THROW(writer.start({"run-1", 2, {}}, replica.states(), {}), base::ArgumentError) << "one at a time";
    communicator.barrier();
    if (communicator.rank() == 0) may_write.count_down();
    const auto outcome = writer.finish();  // back-pressure
    ASSERT_TRUE(outcome && outcome->ok());
    EXPECT_FALSE(writer.finish().has_value());
    EXPECT_FALSE(writer.poll().has_value());
    EXPECT_EQ(first_weight(Checkpoint(outcome->folder)), 1.0F) << "the state at start()";
    writer.start({"run-1", 2, {}}, replica.states(), {});
    EXPECT_EQ(first_weight(Checkpoint(writer.finish()->folder)), 7.0F);
  });
}

TEST_F(CheckpointWriterTest, PollingAloneEndsASave) {
  parallel::run_on_thread_ranks(3, [&](parallel::Communicator& communicator) {
    CheckpointWriter writer(communicator, checkpoints_, small_shards());
    Replica replica;
    writer.start({"run-1", 1, {}}, replica.states(), {});
    std::optional<SaveOutcome> outcome;
    while (!outcome) outcome = writer.poll();
    EXPECT_TRUE(outcome->ok()) << outcome->error;
  });
  EXPECT_EQ(entries(), std::vector<std::string>{"step_00000001"});
}

TEST_F(CheckpointWriterTest, AFailureOnAnyRankAtAnyPointFailsOnAllAndLeavesTheEarlierOne) {
  for (const std::string rank : {"0", "1", "2"}) {
    for (const std::string point : {"snapshot", "folder", "writing", "written", "share", "gathered", "manifest",
                                    "synced", "replaced", "renamed", "durable"}) {
      SCOPED_TRACE("rank " + rank + " at " + point);
      fs::remove_all(checkpoints_);
      ASSERT_TRUE(save(1, 3).ok());
      ASSERT_TRUE(save(2, 3, "", 5.0F).ok());
      const SaveOutcome outcome = save(2, 3, "fail at " + point + " rank " + rank, 9.0F);
      const bool passes = rank != "0" && (point == "gathered" || point == "manifest" || point == "synced" ||
                                          point == "replaced" || point == "renamed" || point == "durable");
      EXPECT_EQ(outcome.ok(), passes);
      EXPECT_THAT(outcome.error, HasSubstr(passes ? "" : "rank " + rank + ": "));
      const auto newest = CheckpointStore(checkpoints_).newest_complete();
      ASSERT_TRUE(newest.has_value());
      const bool stands = passes || point == "renamed" || point == "durable";
      EXPECT_EQ(first_weight(*newest), stands ? 9.0F : 5.0F);
      ASSERT_TRUE(save(3, 3).ok()) << "the next save is as good as ever";
      EXPECT_EQ(entries(), (std::vector<std::string>{"step_00000001", "step_00000002", "step_00000003"}));
    }
  }
}

TEST_F(CheckpointWriterTest, ARankThatWritesToADiskOfItsOwnIsNamed) {
  parallel::run_on_thread_ranks(2, [&](parallel::Communicator& communicator) {
    const fs::path folder = communicator.rank() == 0 ? checkpoints_ : folder_ / "another_host";
    CheckpointWriter writer(communicator, folder, small_shards());
    Replica replica;
    writer.start({"run-1", 1, {}}, replica.states(), {});
    const auto outcome = writer.finish();
    ASSERT_TRUE(outcome && !outcome->ok());
    EXPECT_THAT(outcome->error, HasSubstr("file system that all ranks share"));
  });
  EXPECT_TRUE(entries().empty());
  EXPECT_TRUE(fs::is_empty(folder_ / "another_host"));
}

TEST_F(CheckpointWriterTest, ANewWriterRemovesWhatAKilledOneLeft) {
  fs::create_directories(checkpoints_ / ".writing_step_00000001_0123abcd");
  fs::create_directories(checkpoints_ / ".removing_step_00000001");
  const auto communicator = parallel::make_single_communicator();
  const CheckpointWriter writer(*communicator, checkpoints_, {});
  EXPECT_TRUE(entries().empty());
}

TEST_F(CheckpointWriterTest, AnAbandonedSaveLeavesNoCheckpoint) {
  const auto communicator = parallel::make_single_communicator();
  {
    CheckpointWriter writer(*communicator, checkpoints_, small_shards());
    Replica replica;
    writer.start({"run-1", 1, {}}, replica.states(), {});
  }
  EXPECT_FALSE(CheckpointStore(checkpoints_).newest_complete().has_value());
}

// ---- where a run goes on ----

TEST_F(CheckpointWriterTest, AllRanksFallBackToTheNewestWholeOne) {
  EXPECT_EQ(resume(3), "new");
  const std::string run_id = read_run_record(folder_.path())->run_id;
  EXPECT_EQ(run_id.size(), 16u);
  write_run_record(folder_.path(), {"run-1", 3});
  for (const int64_t step : {1, 2, 3}) ASSERT_TRUE(save(step, 2).ok());
  EXPECT_EQ(resume(3), "3");
  fs::resize_file(checkpoints_ / "step_00000003" / "adapter.safetensors", 5);
  EXPECT_EQ(resume(3), "2");
  EXPECT_EQ(read_run_record(folder_.path())->run_id, "run-1") << "kept through resumes";
  fs::remove_all(checkpoints_ / "step_00000002" / "manifest.json");
  EXPECT_EQ(resume(1), "1");
  fs::resize_file(checkpoints_ / "step_00000001" / "state.json", 1);
  for (const int num_ranks : {1, 3}) {
    const std::string error = resume(num_ranks);
    EXPECT_THAT(error, HasSubstr("none of 3 checkpoints"));
    EXPECT_THAT(error, HasSubstr("step_00000003"));
    EXPECT_THAT(error, HasSubstr("adapter.safetensors is damaged"));
    EXPECT_THAT(error, HasSubstr("no manifest.json"));
  }
}

TEST_F(CheckpointWriterTest, CheckpointsOfAnotherRunAreNotTaken) {
  ASSERT_TRUE(save(1, 1).ok());
  ASSERT_TRUE(save(2, 1).ok());
  write_run_record(folder_.path(), {"run-2", 2});
  EXPECT_THAT(resume(2), HasSubstr("it is of run run-1, but this folder's run is run-2 (--accept-changed run"));
  EXPECT_EQ(resume(2, "auto", /*accept_other_run=*/true), "2");
  fs::remove(folder_ / "run.json");
  EXPECT_EQ(resume(2), "2");
  EXPECT_EQ(read_run_record(folder_.path())->run_id, "run-1") << "a lost record is made from the checkpoint";
}

TEST_F(CheckpointWriterTest, ANamedCheckpointIsTakenOrRefusedButNotReplacedByAnother) {
  ASSERT_TRUE(save(1, 1).ok());
  ASSERT_TRUE(save(2, 1).ok());
  EXPECT_EQ(resume(2, checkpoints_ / "step_00000001"), "1");
  fs::resize_file(checkpoints_ / "step_00000001" / "state.json", 1);
  EXPECT_THAT(resume(2, checkpoints_ / "step_00000001"), HasSubstr("state.json is damaged"));
}

TEST_F(CheckpointWriterTest, CheckpointsThatVanishedAreNoFreshStart) {
  write_run_record(folder_.path(), {"run-1", 40});
  EXPECT_THAT(resume(1), HasSubstr("the run saved step 40, but"));
  EXPECT_EQ(resume(1, "none"), "new") << "asked for";
  EXPECT_NE(read_run_record(folder_.path())->run_id, "run-1");
  std::ofstream(folder_ / "run.json") << "{";
  EXPECT_THAT(resume(1), AllOf(HasSubstr("run.json:1:1: no valid JSON"), HasSubstr("remove the file")));
}

}  // namespace
}  // namespace rosa::training
