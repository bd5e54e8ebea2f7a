#include "training/schedules.h"

#include <gtest/gtest.h>

namespace rosa::training {
namespace {

TEST(Schedules, LearningRateOfTheSpecification) {
  const ScheduleConfig config{.shape = ScheduleShape::cosine, .start = 2.0, .end = 0.0, .warmup_steps = 4};
  EXPECT_EQ(schedule_value(config, 0, 12), 0.0);
  EXPECT_DOUBLE_EQ(schedule_value(config, 1, 12), 0.5);
  EXPECT_DOUBLE_EQ(schedule_value(config, 4, 12), 2.0);
  EXPECT_DOUBLE_EQ(schedule_value(config, 8, 12), 1.0);
  EXPECT_NEAR(schedule_value(config, 12, 12), 0.0, 1e-15);
}

TEST(Schedules, DelayHoldsTheStartAndLagLooksBack) {
  ScheduleConfig config{.shape = ScheduleShape::linear, .start = 0.0, .end = 1.0, .delay_steps = 5, .decay_steps = 10};
  EXPECT_EQ(schedule_value(config, 5, 100), 0.0);
  EXPECT_DOUBLE_EQ(schedule_value(config, 10, 100), 0.5);
  EXPECT_EQ(schedule_value(config, 15, 100), 1.0);
  EXPECT_EQ(schedule_value(config, 99, 100), 1.0);
  config.lag_steps = 1;
  EXPECT_DOUBLE_EQ(schedule_value(config, 11, 100), 0.5);
  EXPECT_EQ(schedule_value(config, 0, 100), 0.0);
}

TEST(Schedules, ExponentialNeedsOneSign) {
  EXPECT_THROW(decay(ScheduleShape::exponential, 1.0, 0.0, 1, 10), base::ArgumentError);
  EXPECT_NEAR(decay(ScheduleShape::exponential, 1.0, 0.01, 5, 10), 0.1, 1e-15);
}

}  // namespace
}  // namespace rosa::training
