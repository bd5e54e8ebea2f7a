// Scales with their ticks, and the statistics behind curves.
#include "report/scale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "report/statistics.h"

namespace rosa::report {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> found;
  for (const Tick& tick : ticks) found.push_back(tick.label);
  return found;
}

TEST(ReportScale, MapsLinearlyAndLogarithmically) {
  const Scale linear(ScaleKind::linear, {0, 10}, {200, 100});  // upside down, as y axes are
  EXPECT_DOUBLE_EQ(linear(0), 200);
  EXPECT_DOUBLE_EQ(linear(2.5), 175);
  EXPECT_DOUBLE_EQ(linear.clamped(-5), 200);
  EXPECT_DOUBLE_EQ(linear.clamped(50), 100);
  const Scale logarithmic(ScaleKind::logarithmic, {1, 10000}, {0, 400});
  EXPECT_NEAR(logarithmic(100), 200, 1e-9);
  EXPECT_NEAR(logarithmic.clamped(0), 0, 1e-9);
}

TEST(ReportScale, LinearTicksAreRoundAndEquallyPrecise) {
  EXPECT_THAT(labels(Scale(ScaleKind::linear, {0, 500}, {0, 1}).ticks(5)),
              ElementsAre("0", "100", "200", "300", "400", "500"));
  EXPECT_THAT(labels(Scale(ScaleKind::linear, {0.93, 1.02}, {0, 1}).ticks(5)),
              ElementsAre("0.94", "0.96", "0.98", "1.00", "1.02"));
  EXPECT_THAT(labels(Scale(ScaleKind::linear, {-1, 1}, {0, 1}).ticks(4)),
              ElementsAre("−1.0", "−0.5", "0.0", "0.5", "1.0"));
  EXPECT_THAT(labels(Scale(ScaleKind::linear, {0, 40000}, {0, 1}).ticks(4)),
              ElementsAre("0", "10k", "20k", "30k", "40k"));
}

TEST(ReportScale, LogarithmicTicks) {
  EXPECT_THAT(labels(Scale(ScaleKind::logarithmic, {0.01, 1e5}, {0, 1}).ticks(7)),
              ElementsAre("0.01", "0.1", "1", "10", "100", "1000", "10k", "100k"));
  EXPECT_THAT(labels(Scale(ScaleKind::logarithmic, {0.9, 30}, {0, 1}).ticks(5)),
              ElementsAre("1", "2", "5", "10", "20"));
  // Many decades: every second or third.
  EXPECT_THAT(labels(Scale(ScaleKind::logarithmic, {1e-6, 1e6}, {0, 1}).ticks(4)),
              ElementsAre("1e-6", "0.001", "1", "1000", "1M"));
  // Less than a decade: as on a linear axis.
  EXPECT_THAT(labels(Scale(ScaleKind::logarithmic, {2, 4}, {0, 1}).ticks(4)),
              ElementsAre("2.0", "2.5", "3.0", "3.5", "4.0"));
}

// Whatever the domain: some ticks, not too many, all of them inside and at different places.
TEST(ReportScale, TicksOfAnyDomainAreInsideAndFew) {
  for (const ScaleKind kind : {ScaleKind::linear, ScaleKind::logarithmic}) {
    for (int exponent = -12; exponent <= 12; ++exponent) {
      for (const double extent : {1.05, 1.7, 3.0, 9.0, 25.0, 1e3, 1e7}) {
        const Interval domain = {0.7 * std::pow(10, exponent), 0.7 * extent * std::pow(10, exponent)};
        const std::vector<Tick> ticks = Scale(kind, domain, {0, 1}).ticks(5);
        EXPECT_GE(ticks.size(), 1u) << domain.low << " " << domain.high;
        EXPECT_LE(ticks.size(), 10u) << domain.low << " " << domain.high;
        for (std::size_t i = 0; i < ticks.size(); ++i) {
          EXPECT_GE(ticks[i].value, domain.low * (1 - 1e-6));
          EXPECT_LE(ticks[i].value, domain.high * (1 + 1e-6));
          if (i > 0) {
            EXPECT_GT(ticks[i].value, ticks[i - 1].value);
          }
        }
      }
    }
  }
}

TEST(ReportScale, TicksAtValuesKeepTheirDistance) {
  const Scale scale(ScaleKind::logarithmic, {1, 16}, {0, 400});
  EXPECT_THAT(labels(scale.ticks_at({16, 1, 2, 4, 8, 32}, 30)), ElementsAre("1", "2", "4", "8", "16"));
  EXPECT_THAT(labels(scale.ticks_at({1, 2, 4, 8, 16}, 150)), ElementsAre("1", "4", "16"));
}

TEST(ReportScale, DomainsWithoutExtentAndWrongOnes) {
  EXPECT_FALSE(Scale(ScaleKind::linear, {3, 3}, {0, 1}).ticks(5).empty());
  EXPECT_TRUE(std::isfinite(Scale(ScaleKind::linear, {0, 0}, {0, 1})(0)));
  EXPECT_TRUE(std::isfinite(Scale(ScaleKind::logarithmic, {3, 3}, {0, 1})(3)));
  EXPECT_THROW(Scale(ScaleKind::logarithmic, {0, 3}, {0, 1}), base::ArgumentError);
  EXPECT_THROW(Scale(ScaleKind::linear, {3, 1}, {0, 1}), base::ArgumentError);
  EXPECT_THROW(Scale(ScaleKind::linear, {0, std::numeric_limits<double>::infinity()}, {0, 1}), base::ArgumentError);
}

TEST(ReportScale, RoundIntervalsHoldTheirData) {
  const Interval interval = round_interval({0.43, 1.31}, 5);
  EXPECT_NEAR(interval.low, 0.4, 1e-12);
  EXPECT_NEAR(interval.high, 1.4, 1e-12);
  const Interval single = round_interval({2, 2}, 5);
  EXPECT_LT(single.low, 2);
  EXPECT_GT(single.high, 2);
}

TEST(ReportStatistics, MeanAndDeviationOfTheSample) {
  EXPECT_FALSE(summarise({}));
  const Summary one = *summarise({2});
  EXPECT_EQ(one.count, 1);
  EXPECT_DOUBLE_EQ(one.deviation, 0);
  const Summary three = *summarise({1, 2, 6});
  EXPECT_DOUBLE_EQ(three.mean, 3);
  EXPECT_DOUBLE_EQ(three.deviation, std::sqrt(7));  // (4 + 1 + 9) / 2
}

TEST(ReportStatistics, Quantiles) {
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({1, 2}, 0.25), 1.25);
  EXPECT_DOUBLE_EQ(quantile({5}, 0.9), 5);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3}, 1), 3);
}

TEST(ReportStatistics, ThinningAveragesNeighbours) {
  const Samples samples = {{1, 10}, {2, 20}, {3, 30}, {4, 40}, {5, 50}};
  EXPECT_EQ(thin(samples, 5), samples);
  EXPECT_EQ(thin(samples, 3), (Samples{{2, 15}, {4, 35}}));  // the fifth has no neighbour
}

TEST(ReportStatistics, MeanAtEqualPlaces) {
  const Curve curve = mean_at_equal_x({{{1, 2}, {2, 4}}, {{1, 4}}, {}});
  ASSERT_EQ(curve.size(), 2u);
  EXPECT_DOUBLE_EQ(curve[0].y, 3);
  EXPECT_DOUBLE_EQ(curve[0].high - curve[0].y, std::sqrt(2));
  EXPECT_DOUBLE_EQ(curve[1].y, 4);
  EXPECT_DOUBLE_EQ(curve[1].low, 4);
}

TEST(ReportStatistics, InterpolatesOntoCommonPlaces) {
  // Lines are met exactly, whatever the places of the samples.
  const Samples first = {{0, 0}, {1, 1}, {4, 4}}, second = {{1, 3}, {3, 5}, {10, 12}};
  const Curve curve = mean_interpolated({first, second, {}}, 4, 7);
  ASSERT_EQ(curve.size(), 7u);
  EXPECT_DOUBLE_EQ(curve.front().x, 1);  // where both have begun
  EXPECT_DOUBLE_EQ(curve.back().x, 4);
  for (const PlotPoint& point : curve) EXPECT_NEAR(point.y, point.x + 1, 1e-12);
}

TEST(ReportStatistics, GoesOnWithThoseThatReachAPlace) {
  const Curve curve = mean_interpolated({{{0, 1}, {1, 1}}, {{0, 3}, {4, 3}}}, 100, 5);
  ASSERT_EQ(curve.size(), 5u);
  EXPECT_DOUBLE_EQ(curve[1].y, 2);
  EXPECT_DOUBLE_EQ(curve[2].y, 3);
  EXPECT_DOUBLE_EQ(curve.back().x, 4);
  EXPECT_THAT(mean_interpolated({}, 4, 5), IsEmpty());
  EXPECT_EQ(mean_interpolated({{{2, 7}}}, 9, 5).size(), 1u);
}

}  // namespace
}  // namespace rosa::report
