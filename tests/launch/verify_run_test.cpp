// `rosa verify-run` on the program itself: a run that is as it says, on any number of ranks, and one that was changed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"
#include "training/checkpoint_store.h"

namespace rosa {
namespace {

using ::testing::HasSubstr;
using testing::JobResult;
using ::testing::Not;
using testing::run_job;
using testing::TemporaryFolder;
using testing::TinyRun;

class KeptState : public base::Stateful {
 public:
  explicit KeptState(base::StateDict state) : state_(std::move(state)) {}
  base::StateDict save_state() const override { return state_; }
  void load_state(const base::StateDict& state) override { state_ = state; }
  base::StateDict& state() { return state_; }

 private:
  base::StateDict state_;
};

// Adds 0.5 to the first number of an adapter's weight: a checkpoint that is whole, and not what the run made.
void change_weight(const std::filesystem::path& folder, const std::string& tensor) {
  const training::Checkpoint checkpoint(folder);
  std::map<std::string, std::unique_ptr<KeptState>> kept;
  training::States states;
  for (const std::string& name : checkpoint.state_names()) {
    kept[name] = std::make_unique<KeptState>(checkpoint.state(name));
    states[name] = kept[name].get();
  }
  std::vector<std::byte>& bytes = kept.at("adapter")->state().tensors.at(tensor).bytes;
  float number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  number += 0.5f;
  std::memcpy(bytes.data(), &number, sizeof(number));
  training::CheckpointStore(folder.parent_path())
      .save(checkpoint.manifest().info, states,
            {{"config.yaml", base::read_file(folder / "config.yaml", int64_t{1} << 20)}});
}

// One run of two ranks for all tests; each has a copy of its folder.
class VerifyRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    original_ = std::make_unique<TemporaryFolder>();
    const TinyRun run(*original_ / "run", 6);
    const JobResult trained = run_job(run.train_command({"checkpoint.keep_last=0"}), {.num_ranks = 2});
    EXPECT_EQ(trained.exit_code, 0) << trained.output;
  }
  static void TearDownTestSuite() { original_.reset(); }

  VerifyRun() : run_(work_ / "run", 6) {
    std::filesystem::copy(*original_ / "run", run_.folder(), std::filesystem::copy_options::recursive);
  }
  JobResult verify(const std::vector<std::string>& arguments, int num_ranks = 1) const {
    std::vector<std::string> command = {"verify-run", run_.folder().string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return testing::run_rosa(command, {.num_ranks = num_ranks});
  }

  static inline std::unique_ptr<TemporaryFolder> original_;
  const TemporaryFolder work_;
  const TinyRun run_;
};

TEST_F(VerifyRun, ARunIsWhatItSaysOnAnyNumberOfRanks) {
  const std::string metrics = testing::text_of_file(run_.folder() / "metrics.jsonl");
  for (const int num_ranks : {1, 4}) {
    const JobResult all = verify({}, num_ranks);
    EXPECT_EQ(all.exit_code, 0) << all.output;
    EXPECT_THAT(all.output, HasSubstr("from step 2 to 6, made again on " + std::to_string(num_ranks) + " rank"));
    EXPECT_THAT(all.output, HasSubstr("step 4: equal in all "));
    EXPECT_THAT(all.output, HasSubstr("step 6: equal in all "));
  }
  // Nothing of the run was touched, and nothing is left in it.
  EXPECT_EQ(testing::text_of_file(run_.folder() / "metrics.jsonl"), metrics);
  EXPECT_FALSE(std::filesystem::exists(run_.folder() / "verification"));
  const JobResult part = verify({"2..4", "--folder", work_ / "again", "--keep"});
  EXPECT_EQ(part.exit_code, 0) << part.output;
  EXPECT_THAT(part.output, Not(HasSubstr("step 6:")));
  EXPECT_TRUE(std::filesystem::exists(work_ / "again" / "checkpoints" / "step_00000004"));
  EXPECT_FALSE(std::filesystem::exists(work_ / "again" / "checkpoints" / "step_00000006"));
}

TEST_F(VerifyRun, NamesAWeightThatWasChangedAndAConfigurationThatWas) {
  const training::Checkpoint checkpoint(run_.checkpoint(4));
  const std::string tensor = checkpoint.state("adapter").tensors.begin()->first;
  change_weight(run_.checkpoint(4), tensor);
  const JobResult all = verify({}, 2);
  EXPECT_EQ(all.exit_code, 4) << all.output;
  EXPECT_THAT(all.output, HasSubstr("step 4: 1 entry differs of "));
  EXPECT_THAT(all.output, HasSubstr("adapter/" + tensor + " 1 of "));
  EXPECT_THAT(all.output, HasSubstr("numbers differ, by at most 0.5"));
  EXPECT_THAT(all.output, HasSubstr("step 6: equal"));
  // From what was changed nothing comes out as it did.
  const JobResult later = verify({"4.."});
  EXPECT_EQ(later.exit_code, 4) << later.output;
  EXPECT_THAT(later.output, HasSubstr("step 6: "));
  EXPECT_THAT(later.output, HasSubstr("differ"));
  const JobResult other = verify({"2..4", "--set", "data.sequence_length=12"});
  EXPECT_EQ(other.exit_code, 4) << other.output;
  EXPECT_THAT(other.output, HasSubstr("data.sequence_length"));
  EXPECT_THAT(other.output, Not(HasSubstr("--accept-changed")));
}

TEST_F(VerifyRun, RefusesWhatItCannotDoBeforeAnyWork) {
  EXPECT_THAT(verify({"2..5"}).output, HasSubstr("has no checkpoint of step 5; it has those of 2, 4, 6"));
  EXPECT_THAT(verify({"4..4"}).output, HasSubstr("holds no two checkpoints"));
  EXPECT_THAT(verify({"2-4"}).output, HasSubstr("expected FROM..TO"));
  const JobResult taken = verify({"--folder", run_.folder()});
  EXPECT_EQ(taken.exit_code, 2) << taken.output;
  EXPECT_THAT(taken.output, HasSubstr("verify-run did not make it"));
  for (const char* setting : {"run.folder=elsewhere", "optimizer.weight_decay=0.5", "evaluation.every=0"}) {
    const JobResult refused = verify({"--set", setting});
    EXPECT_EQ(refused.exit_code, 2) << refused.output;
    EXPECT_THAT(refused.output, HasSubstr("verify-run takes keys of model")) << setting;
  }
  EXPECT_THAT(verify({"6..2"}).output, HasSubstr("ends before it begins"));
  // A checkpoint in the middle that is damaged is named before any step; a folder of the user's own is left alone.
  std::filesystem::create_directory(run_.folder() / "verification");
  std::ofstream(run_.folder() / "verification" / "notes.txt") << "mine";
  EXPECT_THAT(verify({}).output, HasSubstr("verify-run did not make it"));
  EXPECT_EQ(testing::text_of_file(run_.folder() / "verification" / "notes.txt"), "mine");
  std::ofstream(run_.checkpoint(4) / "state.json", std::ios::app) << " ";
  const JobResult damaged = verify({"2..6", "--folder", work_ / "other"});
  EXPECT_EQ(damaged.exit_code, 4) << damaged.output;
  EXPECT_THAT(damaged.output, HasSubstr("step_00000004"));
  EXPECT_THAT(damaged.output, HasSubstr("leave it out of FROM..TO"));
  EXPECT_FALSE(std::filesystem::exists(work_ / "other"));
}

}  // namespace
}  // namespace rosa
