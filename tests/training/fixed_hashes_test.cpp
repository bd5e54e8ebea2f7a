// The default adapter: gates and read-out are trained, the projections that make symbols stay fixed hashes.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/single_communicator.h"
#include "tests/support/temporary_folder.h"
#include "tests/training/small_run.h"
#include "training/checkpoint_store.h"
#include "training/run_objects.h"
#include "training/stages.h"
#include "training/trained_base.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

class FixedHashes : public ::testing::Test {
 protected:
  void SetUp() override { at::set_num_threads(1); }

  RunConfig config(const char* name = "run") const {
    RunConfig config = tiny_config(folder_ / name);
    config.schedules.alpha = {.start = 1.0};
    config.adapter = models::AdapterConfig();
    config.adapter.num_heads = 4;
    config.train.micro_batches = 4;
    config.checkpoint.keep_last = 0;
    return config;
  }

  // Parts of the names of what a run would train: "q_proj", "g_len".
  std::set<std::string> trained(const RunConfig& config) const {
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config, Objective::distill, *single);
    const Trainer trainer(config, objects.parts(*single));
    std::set<std::string> parts;
    const std::string middle = ".rosa_attn.";
    for (const auto& [name, tensor] : trainer.trained()) {
      const std::string part = name.substr(name.find(middle) + middle.size());
      parts.insert(part.substr(0, part.find('.')));
    }
    return parts;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(FixedHashes, AreNotTrained) {
  const std::set<std::string> read_out = {"o_proj", "v_emb0", "v_emb1", "v_emb_no_match",
                                          "g_len",  "g_dim",  "g_head", "g_hidden"};
  RunConfig config = this->config();
  EXPECT_EQ(trained(config), read_out);
  config.train.trainable = {"*_proj.*"};
  EXPECT_EQ(trained(config), std::set<std::string>{"o_proj"});

  const auto with = [&](std::set<std::string> more) {
    more.insert(read_out.begin(), read_out.end());
    return more;
  };
  config = this->config();
  config.adapter.estimator = "sufa";
  EXPECT_EQ(trained(config), with({"q_proj", "k_proj", "v_proj"}));
  config.adapter.estimator = "none";
  config.loss.code_balance = 0.1;
  EXPECT_EQ(trained(config), with({"q_proj", "k_proj", "v_proj"}));
  config.loss.code_balance = 0;
  config.loss.code_consistency = 0.1;
  EXPECT_EQ(trained(config), with({"q_proj", "k_proj"}));
  config.loss.code_consistency = 0;
  config.adapter.estimator = "sufa";
  config.adapter.query_key_gradient = false;
  EXPECT_EQ(trained(config), with({"v_proj"}));
  config.adapter.estimator = "none";
  config.adapter.candidates = Candidates::latest;
  config.adapter.exact_value_gradient = true;
  EXPECT_EQ(trained(config), with({"v_proj"}));
}

TEST_F(FixedHashes, AloneLeaveNothingToTrainAndATypoIsStillNamed) {
  RunConfig config = this->config();
  config.train.trainable = {"*.q_proj.*", "*.k_proj.*"};
  EXPECT_THAT(problems_of(config), HasSubstr("they make fixed hashes"));
  config.train.trainable = {"*.o_prj.*", "*.o_proj.*"};
  EXPECT_THAT(problems_of(config), HasSubstr("'*.o_prj.*' matches no parameter"));
}

// Hashes first, then they are trained: what one stage leaves as it was, the next one moves.
TEST_F(FixedHashes, AStageMayTrainThemLater) {
  const auto run_of = [&](const char* name) {
    Stages stages;
    RunConfig config = this->config(name);
    config.train.num_steps = 3;
    stages.push_back({"hashes", config, {}});
    config.adapter.estimator = "sufa";
    stages.push_back({"trained", config, {}});
    note_trained_base(stages);
    return stages;
  };
  const auto query_at = [&](int64_t step) {
    const auto path = folder_ / "run" / "checkpoints" / CheckpointStore::folder_name(step);
    const auto single = parallel::make_single_communicator();
    const RunObjects objects = build_run(config(), Objective::distill, *single);
    objects.adapters->load_from_student(path / "adapter.safetensors");
    return objects.adapters->weight(0, "q_proj.weight").detach().clone();
  };
  const auto single = parallel::make_single_communicator();
  const at::Tensor start =
      build_run(config(), Objective::distill, *single).adapters->weight(0, "q_proj.weight").detach();
  Recorder whole, first, second;
  ASSERT_EQ(train(run_of("run"), whole), RunOutcome::finished);
  EXPECT_TRUE(query_at(3).equal(start));
  EXPECT_FALSE(query_at(6).equal(start));

  ASSERT_EQ(train(run_of("parts"), first, /*stop_after=*/3), RunOutcome::stopped);
  ASSERT_EQ(train(run_of("parts"), second), RunOutcome::finished);
  EXPECT_EQ(second.losses.at(5), whole.losses.at(5));
}

}  // namespace
}  // namespace rosa::training
