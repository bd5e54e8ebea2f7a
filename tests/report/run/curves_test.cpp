// What becomes of many steps: columns with mean and range, smoothing, summaries, gaps.
#include "report/run/curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace rosa::report {
namespace {

using ::testing::DoubleNear;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(RunCurves, FewSamplesStayAsTheyAre) {
  const Curve curve = by_column({{0, 3}, {10, 1}, {20, 2}}, {0, 20}, 3);
  ASSERT_EQ(curve.size(), 3u);
  for (const PlotPoint& point : curve) {
    EXPECT_EQ(point.low, point.y);
    EXPECT_EQ(point.high, point.y);
  }
  EXPECT_EQ(curve[1].x, 10);
  EXPECT_EQ(curve[1].y, 1);
}

TEST(RunCurves, ManySamplesKeepMeanAndExtremesOfEachColumn) {
  Samples samples;
  for (int i = 0; i < 100'000; ++i) samples.emplace_back(i, i % 2 == 0 ? 1 : 2);
  samples[77'777].second = 1000;  // one step that must stay to be seen
  samples[12'345].second = -5;
  const Curve curve = by_column(samples, {0, 99'999}, 200);
  ASSERT_EQ(curve.size(), 200u);
  double low = 0, high = 0, mean = 0;
  for (const PlotPoint& point : curve) {
    EXPECT_LE(point.low, point.y);
    EXPECT_GE(point.high, point.y);
    low = std::min(low, point.low);
    high = std::max(high, point.high);
    mean += point.y / 200;
  }
  EXPECT_EQ(low, -5);
  EXPECT_EQ(high, 1000);
  EXPECT_THAT(mean, DoubleNear(1.5 + (998.0 - 7) / 100'000, 1e-3));
}

TEST(RunCurves, WhatIsNotFiniteIsAGap) {
  const Curve curve = by_column({{0, 1}, {1, kNan}, {2, 3}, {3, 4}}, {0, 3}, 10);
  ASSERT_EQ(curve.size(), 3u);
  EXPECT_TRUE(curve[1].is_start);
  EXPECT_FALSE(curve[2].is_start);
  EXPECT_TRUE(by_column({{0, kNan}}, {0, 1}, 10).empty());
  // In a column with finite values it is left out of these.
  Samples many;
  for (int i = 0; i < 100; ++i) many.emplace_back(i, i % 2 == 0 ? kNan : 7);
  const Curve columns = by_column(many, {0, 99}, 10);
  ASSERT_EQ(columns.size(), 10u);
  for (const PlotPoint& point : columns) EXPECT_EQ(point.y, 7);
}

TEST(RunCurves, AMovingAverageHalvesTheWeightInAHalfLife) {
  // The first value has half the weight of the second: (0.5 * 1 + 4) / 1.5.
  const Samples result = smoothed({{0, 1}, {10, 4}, {20, kNan}}, 10);
  ASSERT_EQ(result.size(), 3u);
  EXPECT_EQ(result[0].second, 1);
  EXPECT_DOUBLE_EQ(result[1].second, 3);
  EXPECT_TRUE(std::isnan(result[2].second));
}

TEST(RunCurves, SummaryCountsFiniteValuesOnly) {
  const auto summary = summary_of({{0, 4}, {1, kNan}, {2, 1}, {3, 4}, {4, kNan}});
  ASSERT_TRUE(summary);
  EXPECT_EQ(summary->last, 4);
  EXPECT_DOUBLE_EQ(summary->mean, 3);
  EXPECT_EQ(summary->lowest, 1);
  EXPECT_EQ(summary->lowest_step, 2);
  EXPECT_EQ(summary->highest, 4);
  EXPECT_EQ(summary->highest_step, 0);
  EXPECT_EQ(summary->num_not_finite, 2);
  EXPECT_FALSE(summary_of({{0, kNan}}));
}

}  // namespace
}  // namespace rosa::report
