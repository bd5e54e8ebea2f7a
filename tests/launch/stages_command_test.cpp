// Runs with stages from outside: how they are written and overridden, and what later commands make of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "launch/run_config_file.h"
#include "tests/support/job.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tiny_run.h"
#include "training/run_identity.h"

namespace rosa::launch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::run_rosa;

class StagesCommand : public ::testing::Test {
 protected:
  StagesCommand() {
    write(R"(stages:
  - name: first
    train: {num_steps: 3}
    schedules: {learning_rate: {start: 2e-3}}
  - name: second
    train: {num_steps: 2}
    student: {sliding_window: 4}
    loss:
      temperature: 2
)");
  }

  void write(const std::string& stages) const {
    std::ofstream(file()) << "run: {folder: " << (folder_ / "run").string()
                          << ", seed: 3}\nmodel: {folder: " << ROSA_TEST_DATA "/goldens/qwen3_tied"
                          << R"(}
student: {sliding_window: 6}
adapter: {num_heads: 4, query_key_bits: 4, value_bits: 4}
data: {kind: phrases, sequence_length: 24, min_phrase_length: 3, max_phrase_length: 4}
train: {micro_batches: 2}
evaluation: {every: 0}
checkpoint: {every: 100, keep_last: 0}
logging: {every: 1}
)" << stages;
  }
  std::filesystem::path file() const { return folder_ / "run.yaml"; }
  LoadedConfig load(const std::vector<std::string>& overrides = {}) const {
    return load_run_config(file(), overrides, ConfigUse::distill);
  }
  std::string refusal(const std::string& stages, const std::vector<std::string>& overrides = {}) const {
    write(stages);
    try {
      load(overrides);
    } catch (const base::ConfigError& error) {
      return error.what();
    }
    return "";
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(StagesCommand, StagesAreLaidOverTheRun) {
  const training::Stages stages = load().stages;
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].name, "first");
  EXPECT_EQ(stages[0].config.student.sliding_window, 6);
  EXPECT_EQ(stages[0].config.schedules.learning_rate.start, 2e-3);
  EXPECT_EQ(stages[1].config.student.sliding_window, 4);
  EXPECT_EQ(stages[1].config.loss.temperature, 2);
  EXPECT_EQ(stages[1].config.train.micro_batches, 2);
  EXPECT_EQ(training::num_steps(stages), 5);
}

TEST_F(StagesCommand, OverridesAreOfAllStagesOrOfOne) {
  const training::Stages stages = load({"loss.temperature=3", "stages.second.train.num_steps=7"}).stages;
  EXPECT_EQ(stages[0].config.loss.temperature, 3);
  EXPECT_EQ(stages[1].config.loss.temperature, 3) << "--set wins over the file";
  EXPECT_EQ(stages[0].config.train.num_steps, 3);
  EXPECT_EQ(stages[1].config.train.num_steps, 7);
  const training::Stages other = load({"stages=[{name: only, train: {num_steps: 9}}]"}).stages;
  ASSERT_EQ(other.size(), 1u);
  EXPECT_EQ(other[0].name, "only");
  EXPECT_EQ(other[0].config.train.num_steps, 9);
}

TEST_F(StagesCommand, TheResolvedTextReadsBackAsTheSame) {
  const LoadedConfig loaded = load({"stages.second.optimizer.groups=[{pattern: \"*.o_proj.*\", rate: 0.5}]"});
  std::ofstream(folder_ / "resolved.yaml") << loaded.text;
  const LoadedConfig again = load_run_config(folder_ / "resolved.yaml", {}, ConfigUse::distill);
  EXPECT_EQ(training::recipe_of_stages(again.stages), training::recipe_of_stages(loaded.stages));
  EXPECT_THAT(training::recipe_of_stages(again.stages).at("stages.second.optimizer.groups"), HasSubstr("0.5"));
  EXPECT_EQ(training::recipe_values(again.config), training::recipe_values(loaded.config));
}

TEST_F(StagesCommand, WhatIsWrongIsNamedWithItsPlace) {
  EXPECT_THAT(refusal("stages:\n  - name: a\n    loss: {temprature: 1}\n"),
              AllOf(HasSubstr("stage 'a'"), HasSubstr("run.yaml:12: loss.temprature"), HasSubstr("loss.temperature")));
  EXPECT_THAT(refusal("stages:\n  - name: a\n    checkpoint: {every: 5}\n"),
              AllOf(HasSubstr("run.yaml:12"), HasSubstr("checkpoint.every: is the same in the whole run")));
  EXPECT_THAT(refusal("stages:\n  - loss: {temperature: 1}\n"),
              HasSubstr("run.yaml:11: stages: each entry needs a name"));
  EXPECT_THAT(refusal("stages:\n  - name: a/b\n"), HasSubstr("each entry needs a name"));
  EXPECT_THAT(refusal("stages:\n  - name: a\n  - name: a\n"), HasSubstr("two entries have the name 'a'"));
  EXPECT_THAT(refusal("stages:\n  - name: a\n    name: b\n"), HasSubstr("an entry has two names"));
  EXPECT_THAT(refusal("stages:\n  - name: a\n    lora: {rank: 2}\n"), HasSubstr("lora.rank: is the same in the whole"));
  EXPECT_THAT(refusal("stages:\n  - name: a\n    recipe: rosa_soft\n"), HasSubstr("recipe: is the same in the whole"));
  EXPECT_THAT(refusal("stages: {name: a}\n"), HasSubstr("expected a list of sections"));
  EXPECT_THAT(refusal("stages: [align, distil]\n"), HasSubstr("expected a section"));
  EXPECT_THAT(refusal("stages:\n  - name: a\n", {"stages.b.train.num_steps=1"}), HasSubstr("with NAME one of a"));
  EXPECT_THAT(refusal("", {"stages.b.train.num_steps=1"}), HasSubstr("has no stages"));
  EXPECT_THAT(refusal("stages:\n  - name: a\n    train: {num_steps: 0}\n"),
              AllOf(HasSubstr("stage 'a'"), HasSubstr("run.yaml:12"), HasSubstr("train.num_steps")));
  EXPECT_EQ(refusal("stages: []\n"), "");
}

TEST_F(StagesCommand, EachCheckpointIsScoredAsItsStageHasIt) {
  const testing::JobResult trained = run_rosa({"train", file().string()});
  ASSERT_EQ(trained.exit_code, 0) << trained.output;
  EXPECT_THAT(trained.output, HasSubstr("stage second (2 of 2): 2 steps from step 3"));
  const std::string run = (folder_ / "run").string();
  const auto eval = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval", run, "--variants", "window,rosa"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_rosa(arguments);
  };
  const testing::JobResult last = eval({}), first = eval({"--checkpoint", "step_00000003"});
  EXPECT_EQ(last.exit_code, 0) << last.output;
  EXPECT_EQ(first.exit_code, 0) << first.output;
  // Which window it has is seen by what contradicts it.
  EXPECT_EQ(eval({"--set", "student.sliding_window=6"}).exit_code, 4) << "in all stages";
  EXPECT_EQ(eval({"--set", "stages.second.student.sliding_window=5"}).exit_code, 4);
  const testing::JobResult exported = run_rosa({"export", run, "-o", (folder_ / "out").string()});
  EXPECT_EQ(exported.exit_code, 0) << exported.output;
  EXPECT_THAT(testing::text_of_file(folder_ / "out" / "config.json"), HasSubstr("\"sliding_window\": 4"));
  // The border is on the page.
  const testing::JobResult report = run_rosa({"report", run, "-o", (folder_ / "page.html").string()});
  EXPECT_EQ(report.exit_code, 0) << report.output;
  EXPECT_THAT(testing::text_of_file(folder_ / "page.html"), HasSubstr("stage second begins"));
  EXPECT_THAT(run_rosa({"train", file().string()}).output, HasSubstr("after 5 of 5 steps"));
  EXPECT_THAT(run_rosa({"plan", file().string()}).output,
              AllOf(HasSubstr("== stage first (1 of 2)"), HasSubstr("== stage second (2 of 2)"),
                    HasSubstr("== all stages"), HasSubstr(", in stage ")));
  const testing::JobResult dry = run_rosa({"train", file().string(), "--dry-run"});
  EXPECT_EQ(dry.exit_code, 0) << dry.output;
  EXPECT_THAT(dry.output, HasSubstr("loss, stage second (2 of 2)"));
}

TEST_F(StagesCommand, WhatIsStillToComeMayChange) {
  ASSERT_EQ(run_rosa({"train", file().string()}).exit_code, 0);
  const testing::JobResult refused = run_rosa({"train", file().string(), "--set", "stages.second.train.num_steps=4"});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.output, HasSubstr("stages.second.train.num_steps: the checkpoint has '2', this run has '4'"));
  const testing::JobResult longer =
      run_rosa({"train", file().string(), "--set", "stages.second.train.num_steps=4", "--accept-changed", "num_steps"});
  EXPECT_EQ(longer.exit_code, 0) << longer.output;
  EXPECT_THAT(longer.output, HasSubstr("after 5 of 7 steps"));
  // A stage that is past leaves its steps as they were.
  const testing::JobResult past = run_rosa({"train", file().string(), "--set", "stages.first.train.num_steps=1",
                                            "stages.second.train.num_steps=5", "--accept-changed", "stages"});
  EXPECT_EQ(past.exit_code, 0) << past.output;
  EXPECT_THAT(past.output, HasSubstr("after 7 of 8 steps"));
  EXPECT_THAT(run_rosa({"checkpoint", "show", (folder_ / "run" / "checkpoints" / "step_00000005").string()}).output,
              AllOf(HasSubstr("stage second (2 of 2), from step 3 on"), HasSubstr("schedules at step 2 of 2")));
  EXPECT_THAT(run_rosa({"train", file().string(), "--accept-changed", "stagez"}).output,
              HasSubstr("there is no 'stagez'"));
}

TEST_F(StagesCommand, AStageReplacesEpochsBySteps) {
  write("stages:\n  - name: a\n    train: {num_steps: 4}\n");
  std::string text = testing::text_of_file(file());
  text.replace(text.find("train: {micro_batches: 2}"), 25, "train: {micro_batches: 2, num_epochs: 3}");
  std::ofstream(file()) << text;
  EXPECT_EQ(load().stages[0].config.train.num_steps, 4);
  EXPECT_EQ(load().stages[0].config.train.num_epochs, 0);
}

TEST_F(StagesCommand, PretrainingHasNone) {
  EXPECT_THAT(run_rosa({"pretrain", file().string()}).output, HasSubstr("rosa pretrain has none"));
}

}  // namespace
}  // namespace rosa::launch
