#include "training/data/data_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/error.h"
#include "training/data/data_source.h"

namespace rosa::training {
namespace {

using ::testing::HasSubstr;

void expect_refused(const std::function<void(DataConfig&)>& change, const std::string& key) {
  DataConfig config;
  change(config);
  try {
    resolve(config);
    ADD_FAILURE() << key;
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr(key));
  }
}

TEST(DataConfig, DefaultsFollowTheKind) {
  const DataConfig lines = resolve({.kind = DataKind::lines});
  EXPECT_EQ(lines.pool_size, 6);
  EXPECT_EQ(lines.min_phrase_length, 10);
  EXPECT_EQ(lines.max_phrase_length, 24);
  EXPECT_EQ(lines.vocabulary_size, 128);
  const DataConfig phrases = resolve({.kind = DataKind::phrases, .pool_size = 3});
  EXPECT_EQ(phrases.pool_size, 3);
  EXPECT_EQ(phrases.min_phrase_length, 8);
  EXPECT_EQ(phrases.max_phrase_length, 16);
  EXPECT_EQ(phrases.vocabulary_size, 65);
  EXPECT_EQ(resolve({.kind = DataKind::token_file}).vocabulary_size, 0);
}

TEST(DataConfig, StagesEndWithTheConfigsOwnValues) {
  DataConfig config{.sequence_length = 256, .pool_size = 6, .unrecallable_weight = 0.5};
  config.curriculum_until = {300, 700};
  config.curriculum_sequence_lengths = {64, 128};
  config.curriculum_unrecallable_weights = {0.05, 0.1};
  const auto all = stages(resolve(config));
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].first_step, 0);
  EXPECT_EQ(all[0].sequence_length, 64);
  EXPECT_EQ(all[0].pool_size, 6);
  EXPECT_EQ(all[0].unrecallable_weight, 0.05);
  EXPECT_EQ(all[1].first_step, 300);
  EXPECT_EQ(all[1].sequence_length, 128);
  EXPECT_EQ(all[2].first_step, 700);
  EXPECT_EQ(all[2].sequence_length, 256);
  EXPECT_EQ(all[2].unrecallable_weight, 0.5);
  const auto held_out = stages_of(resolve(config), DataSplit::held_out);
  ASSERT_EQ(held_out.size(), 1u);
  EXPECT_EQ(held_out[0].sequence_length, 256);
  EXPECT_EQ(held_out[0].first_step, 0);
  EXPECT_EQ(held_out[0].unrecallable_weight, 1.0);
}

TEST(DataConfig, ValuesThatDoNotFitAreNamed) {
  expect_refused([](DataConfig& c) { c.curriculum_until = {5, 5}; }, "curriculum_until");
  expect_refused([](DataConfig& c) { c.curriculum_until = {0}; }, "curriculum_until");
  expect_refused([](DataConfig& c) { c.curriculum_sequence_lengths = {5}; }, "curriculum_sequence_lengths has 1");
  expect_refused([](DataConfig& c) { c.curriculum_pool_sizes = {5}; }, "curriculum_pool_sizes");
  expect_refused([](DataConfig& c) { c.curriculum_unrecallable_weights = {5}; }, "curriculum_unrecallable_weights");
  expect_refused([](DataConfig& c) { c.min_phrase_length = 30; }, "min_phrase_length");
  expect_refused([](DataConfig& c) { c.pool_size = 1; }, "pool_size");
  expect_refused([](DataConfig& c) { c.sequence_length = 1; }, "sequence_length");
  expect_refused([](DataConfig& c) { c = {.kind = DataKind::crops, .unrecallable_weight = 0.5}; },
                 "unrecallable_weight");
  expect_refused([](DataConfig& c) { c = {.kind = DataKind::phrases, .vocabulary_size = 64}; }, "vocabulary_size");
  EXPECT_THROW(make_data_source({.kind = DataKind::lines}, DataSplit::train, 1, 1), base::ConfigError);
  EXPECT_THROW(make_data_source({.kind = DataKind::phrases}, DataSplit::train, 1, 0), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::training
