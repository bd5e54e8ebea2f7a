#include "base/random.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "base/error.h"

namespace rosa::base {
namespace {

// The known-answer vectors of Random123 (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, EveryFieldMatters) {
  std::set<uint64_t> seen;
  RandomKey key{1, 2, 3, 4, 5};
  seen.insert(random_bits(key));
  for (uint64_t RandomKey::*field :
       {&RandomKey::seed, &RandomKey::step, &RandomKey::sample, &RandomKey::layer, &RandomKey::position}) {
    for (uint64_t bit : {uint64_t{1} << 3, uint64_t{1} << 40, uint64_t{1} << 63}) {
      RandomKey other = key;
      other.*field ^= bit;
      seen.insert(random_bits(other));
    }
  }
  EXPECT_EQ(seen.size(), 16u);
  EXPECT_EQ(random_bits(key), random_bits(key));
}

TEST(Random, StreamIsTheKeysInOrder) {
  RandomKey key{7, 1, 2, 3, 10};
  RandomStream stream(key);
  for (uint64_t i = 0; i < 5; ++i, ++key.position) EXPECT_EQ(stream.bits(), random_bits(key));
}

// Computed by an independent implementation. A change here would change every data set and every start.
TEST(Random, NumbersStayTheSame) {
  EXPECT_EQ(random_bits({42, 1, 2, 3, 0}), 0x8cb48cbb75f87999u);
  EXPECT_EQ(random_bits({42, 1, 2, 3, 1}), 0x76fe16435aebbdd2u);
  FeistelPermutation permutation(1000, 42);
  std::vector<uint64_t> first;
  for (uint64_t index = 0; index < 5; ++index) first.push_back(permutation(index));
  EXPECT_EQ(first, (std::vector<uint64_t>{572, 661, 809, 196, 600}));
}

// Against the function of the paper: four words a position.
TEST(Random, UniformsByTheBlock) {
  const RandomKey key{5, 6, 7, (uint64_t{3} << 32) + 8, (uint64_t{1} << 32) - 2};
  for (size_t size : {0, 1, 4, 31, 32, 33, 129}) {
    std::vector<double> values(size);
    random_uniforms(key, values);
    for (size_t i = 0; i < size; ++i) {
      RandomKey of_block = key;
      of_block.position += i / 4;
      const uint64_t first_words = random_bits(of_block);  // the first two of the block's four
      if (i % 4 < 2) {
        const auto word = static_cast<uint32_t>(first_words >> (32 * (i % 4)));
        EXPECT_EQ(values[i], (word + 0.5) * 0x1.0p-32) << i;
      }
      EXPECT_TRUE(values[i] > 0 && values[i] < 1);
    }
    if (size > 4) {
      std::set<double> different(values.begin(), values.end());
      EXPECT_EQ(different.size(), size);
    }
  }
}

TEST(Random, ManyUniformsAtOnceAreThoseOfTheStream) {
  for (const size_t size : {0, 1, 7, 8, 9, 1000}) {
    const RandomKey key = {.seed = 3, .step = 1, .sample = 4, .layer = 1, .position = (uint64_t{1} << 32) - 5};
    std::vector<double> values(size);
    random_stream_uniforms(key, values);
    RandomStream stream(key);
    for (size_t i = 0; i < size; ++i) EXPECT_EQ(values[i], stream.uniform()) << i;
  }
}

TEST(Random, UniformMoments) {
  RandomStream stream({3, 0, 0, 0, 0});
  double sum = 0, square = 0, normal_sum = 0, normal_square = 0;
  const int count = 20000;
  for (int i = 0; i < count; ++i) {
    double value = stream.uniform();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    sum += value;
    square += value * value;
    double normal = stream.normal();
    ASSERT_TRUE(std::isfinite(normal));
    normal_sum += normal;
    normal_square += normal * normal;
  }
  EXPECT_NEAR(sum / count, 0.5, 0.01);
  EXPECT_NEAR(square / count, 1.0 / 3, 0.01);
  EXPECT_NEAR(normal_sum / count, 0, 0.03);
  EXPECT_NEAR(normal_square / count, 1, 0.04);
}

TEST(Random, BelowIsUniformAndBetweenIsClosed) {
  RandomStream stream({5, 0, 0, 0, 0});
  std::vector<int> counts(7);
  for (int i = 0; i < 14000; ++i) ++counts[stream.below(7)];
  for (int count : counts) EXPECT_NEAR(count, 2000, 250);
  std::set<int64_t> values;
  for (int i = 0; i < 100; ++i) values.insert(stream.between(-1, 1));
  EXPECT_EQ(values, (std::set<int64_t>{-1, 0, 1}));
  EXPECT_EQ(stream.between(5, 5), 5);
  stream.between(INT64_MIN, INT64_MAX);
  EXPECT_EQ(stream.below(1), 0u);
  EXPECT_THROW(stream.below(0), ArgumentError);
  EXPECT_THROW(stream.between(2, 1), ArgumentError);
}

TEST(Feistel, IsABijection) {
  for (uint64_t size : {1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 1000, 4097}) {
    for (uint64_t seed : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}}) {
      FeistelPermutation permutation(size, seed);
      std::vector<bool> seen(size);
      for (uint64_t index = 0; index < size; ++index) {
        uint64_t value = permutation(index);
        ASSERT_LT(value, size);
        ASSERT_FALSE(seen[value]) << size << " " << index;
        seen[value] = true;
      }
    }
  }
}

TEST(Feistel, ShufflesAndDependsOnTheSeed) {
  const uint64_t size = 1000;
  FeistelPermutation first(size, 1), second(size, 2);
  uint64_t equal = 0, fixed = 0;
  double displacement = 0;
  for (uint64_t index = 0; index < size; ++index) {
    equal += first(index) == second(index);
    fixed += first(index) == index;
    displacement += std::abs(static_cast<double>(first(index)) - static_cast<double>(index));
  }
  EXPECT_LT(equal, 10u);
  EXPECT_LT(fixed, 10u);
  EXPECT_NEAR(displacement / size, size / 3.0, 40);  // the mean distance of two random places
}

TEST(Feistel, HugeSizes) {
  const uint64_t size = (uint64_t{1} << 63) - 25;
  FeistelPermutation permutation(size, 9);
  std::set<uint64_t> seen;
  for (uint64_t index = 0; index < 1000; ++index) {
    uint64_t value = permutation(size - 1 - index);
    EXPECT_LT(value, size);
    seen.insert(value);
  }
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_THROW(FeistelPermutation(0, 1), ArgumentError);
  EXPECT_THROW(permutation(size), ArgumentError);
}

}  // namespace
}  // namespace rosa::base
