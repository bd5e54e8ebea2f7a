// Keys that were given in vain: of a run, of stages, and of none of those that a configuration has by itself.
#include "training/idle_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Stage stage_with(const RunConfig& config, const std::vector<std::string>& given) {
  Stage stage;
  stage.config = config;
  for (const std::string& key : given) stage.origin.sources[key] = "run.yaml:7";
  return stage;
}

std::vector<std::string> texts(const Stages& stages) {
  std::vector<std::string> result;
  for (const IdleKey& idle : idle_keys(stages)) result.push_back(idle_key_text(idle));
  return result;
}

TEST(IdleKeys, AreThoseThatAnotherKeyTurnsOff) {
  RunConfig config = recipe_defaults("default");
  config.loss.alignment_by = AlignmentBy::cosine;
  config.adapter.sufa_head_dim = 64;
  const std::vector<std::string> given = {"loss.alignment_by", "adapter.sufa_head_dim"};
  EXPECT_THAT(texts({stage_with(config, given)}),
              ElementsAre("adapter.sufa_head_dim has no effect: adapter.estimator is none",
                          "loss.alignment_by has no effect: loss.alignment is 0"));
  config.loss.alignment = 1.0;
  config.adapter.estimator = "sufa";
  EXPECT_THAT(texts({stage_with(config, given)}), IsEmpty());
}

TEST(IdleKeys, AreOnlyThoseThatWereGivenAnotherValueThanTheRecipes) {
  RunConfig config = recipe_defaults("default");
  EXPECT_THAT(texts({stage_with(config, {"loss.alignment_by", "lora.alpha", "schedules.alpha.start"})}), IsEmpty());
  config.schedules.alpha.start = 0.5;
  EXPECT_THAT(texts({stage_with(config, {})}), IsEmpty());
  EXPECT_THAT(texts({stage_with(config, {"schedules.alpha.start"})}),
              ElementsAre("schedules.alpha.start has no effect: adapter.estimator is none"));
}

TEST(IdleKeys, AKeyThatOneStageReadsIsNotIdle) {
  RunConfig config = recipe_defaults("default");
  config.loss.alignment_by = AlignmentBy::cosine;
  RunConfig aligned = config;
  aligned.loss.alignment = 1.0;
  const std::vector<std::string> given = {"loss.alignment_by"};
  EXPECT_THAT(texts({stage_with(aligned, given), stage_with(config, given)}), IsEmpty());
  EXPECT_EQ(texts({stage_with(config, given), stage_with(config, given)}).size(), 1u);
}

}  // namespace
}  // namespace rosa::training
