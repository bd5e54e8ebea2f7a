// Kind: a resumed run and any number of ranks draw the same samples: all is a function of the sample's number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "training/data/mixture_order.h"

namespace rosa::training {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kBlock = MixtureOrder::kBlock;

// Each source's indices are 0, 1, 2 ... to its count, each once, in every stretch of whole blocks.
TEST(MixtureOrder, EachSampleOfASourceComesOnce) {
  const std::vector<double> weights = {0.1, 3, 0.7, 0.00141};
  const MixtureOrder order(weights, 7);
  const int64_t num_samples = 20 * kBlock;
  const std::vector<int64_t> counts = order.counts(num_samples);
  std::vector<std::vector<int>> seen;
  for (const int64_t count : counts) seen.emplace_back(static_cast<size_t>(count), 0);
  for (int64_t sample = 0; sample < num_samples; ++sample) {
    const auto draw = order.draw(sample);
    auto& of_source = seen.at(static_cast<size_t>(draw.source));
    ASSERT_LT(draw.index, static_cast<int64_t>(of_source.size())) << sample;
    ++of_source[static_cast<size_t>(draw.index)];
  }
  double total = 0;
  for (const double weight : weights) total += weight;
  for (size_t source = 0; source < weights.size(); ++source) {
    EXPECT_THAT(seen[source], ::testing::Each(1)) << source;
    EXPECT_NEAR(static_cast<double>(counts[source]), weights[source] / total * num_samples, 1.01) << source;
  }
}

TEST(MixtureOrder, CountsAreThoseOfTheDraws) {
  const MixtureOrder order({1, 2, 1}, 3);
  std::vector<int64_t> counts(3, 0);
  for (int64_t sample = 0; sample < kBlock + 300; ++sample) {
    if (sample == 17 || sample == kBlock || sample == kBlock + 299) {
      EXPECT_EQ(order.counts(sample), counts) << sample;
    }
    ++counts[static_cast<size_t>(order.draw(sample).source)];
  }
}

// Sources are mixed within a block: no long run of one of them.
TEST(MixtureOrder, EveryStretchIsAMixture) {
  const MixtureOrder order({1, 1}, 5);
  for (int64_t first = 0; first < 2 * kBlock; first += 256) {
    int64_t of_first = 0;
    for (int64_t sample = first; sample < first + 256; ++sample) of_first += order.draw(sample).source == 0 ? 1 : 0;
    EXPECT_GT(of_first, 128 - 60) << first;
    EXPECT_LT(of_first, 128 + 60) << first;
  }
}

TEST(MixtureOrder, TheSeedDecidesAndFarSamplesCostNoMore) {
  const MixtureOrder one({1, 3}, 1), same({2, 6}, 1), other({1, 3}, 2);
  int differences = 0;
  for (int64_t sample = int64_t{1} << 50; sample < (int64_t{1} << 50) + 500; ++sample) {
    EXPECT_EQ(one.draw(sample).source, same.draw(sample).source);
    EXPECT_EQ(one.draw(sample).index, same.draw(sample).index);
    differences += one.draw(sample).source != other.draw(sample).source ? 1 : 0;
  }
  EXPECT_GT(differences, 50);
  EXPECT_NEAR(static_cast<double>(one.draw(int64_t{1} << 50).index) / static_cast<double>(int64_t{1} << 50),
              one.draw(int64_t{1} << 50).source == 0 ? 0.25 : 0.75, 1e-6);
}

TEST(MixtureOrder, OneSourceGivesAll) {
  const MixtureOrder order({0.3}, 1);
  EXPECT_THAT(order.counts(5000), ElementsAre(5000));
  EXPECT_EQ(order.draw(0).source, 0);
}

TEST(MixtureOrder, SharesThatNoBlockHoldsAreRefused) {
  for (const double weight :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(), 1e-9}) {
    EXPECT_THROW(MixtureOrder({1, weight}, 1), base::ConfigError) << weight;
  }
}

}  // namespace
}  // namespace rosa::training
