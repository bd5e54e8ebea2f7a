// The local counterfactual against its definition in local_counterfactual.h, evaluated cell by cell.
#include "rosa/kernels/local_counterfactual.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/error.h"

namespace rosa::kernels {
namespace {

using Symbols = std::vector<uint16_t>;

struct Effects {
  std::vector<int32_t> positions;
  std::vector<double> query, key, value;

  bool operator==(const Effects&) const = default;
};

struct Case {
  Symbols query, key, value;
  int num_bits = 1, value_bits = 1;
  std::vector<float> gradient;

  int length() const { return static_cast<int>(query.size()); }
  double reward(int row, int position) const {
    double sum = 0;
    for (int bit = 0; position >= 0 && bit < value_bits; ++bit) {
      if ((value[position + 1] >> bit & 1) != 0) sum += gradient[row * value_bits + bit];
    }
    return sum;
  }
  // Where row `row` would match with `symbol` as its query.
  int match(int row, uint16_t symbol) const {
    int best = 0, position = -1;
    for (int i = 0; i < row; ++i) {
      int run = 0;
      while (run <= i && key[i - run] == (run == 0 ? symbol : query[row - run])) ++run;
      if (run > 0 && run >= best) {
        best = run;
        position = i;
      }
    }
    return position;
  }
  int key_run(int position) const {
    while (position > 0 && key[position - 1] == key[position]) --position;
    return position;
  }
};

Effects by_definition(const Case& c) {
  Effects effects;
  effects.query.assign(c.length() * c.num_bits, 0.0);
  effects.key = effects.query;
  effects.value.assign(c.length() * c.value_bits, 0.0);
  for (int t = 0; t < c.length(); ++t) {
    const int hard = c.match(t, c.query[t]);
    effects.positions.push_back(hard);
    for (int bit = 0; hard >= 0 && bit < c.value_bits; ++bit) {
      const double g = c.gradient[t * c.value_bits + bit];
      effects.value[(hard + 1) * c.value_bits + bit] += (c.value[hard + 1] >> bit & 1) != 0 ? -g : g;
    }
    if (t > 0 && c.query[t] == c.query[t - 1]) continue;
    for (int bit = 0; bit < c.num_bits; ++bit) {
      const int what_if = c.match(t, c.query[t] ^ 1 << bit);
      const double contrast = c.reward(t, what_if) - c.reward(t, hard);
      effects.query[t * c.num_bits + bit] = contrast;
      if (hard >= 0) effects.key[c.key_run(hard) * c.num_bits + bit] += contrast;
      if (what_if >= 0) effects.key[c.key_run(what_if) * c.num_bits + bit] += contrast;
    }
  }
  return effects;
}

Effects run(const Case& c, LocalCounterfactual& kernel) {
  Effects effects;
  effects.positions.resize(c.length());
  effects.query.assign(c.length() * c.num_bits, 1.0);  // must be overwritten
  effects.key = effects.query;
  effects.value.assign(c.length() * c.value_bits, 1.0);
  kernel.effects(c.query, c.key, c.num_bits, {.value = c.value, .value_bits = c.value_bits, .gradient = c.gradient},
                 effects.positions, effects.query, effects.key, effects.value);
  return effects;
}

// Runs of mean length 1 / change, so that runs of queries and keys matter; gradients are whole numbers.
Symbols runs(int length, int num_bits, double change, std::mt19937_64& generator) {
  std::bernoulli_distribution changes(change);
  Symbols symbols(length);
  for (int t = 0; t < length; ++t) {
    symbols[t] = t == 0 || changes(generator) ? generator() & ((1U << num_bits) - 1) : symbols[t - 1];
  }
  return symbols;
}

Case make_case(int length, int num_bits, double change, bool is_self, uint64_t seed) {
  std::mt19937_64 generator(seed);
  Case c;
  c.num_bits = num_bits;
  c.value_bits = 1 + static_cast<int>(seed % 9);
  c.key = runs(length, num_bits, change, generator);
  c.query = is_self ? c.key : runs(length, num_bits, change, generator);
  c.value = runs(length, c.value_bits, 1.0, generator);
  for (int k = 0; k < length * c.value_bits; ++k) {
    c.gradient.push_back(static_cast<float>(static_cast<int>(generator() % 15) - 7));
  }
  return c;
}

TEST(LocalCounterfactual, IsWhatItsDefinitionSays) {
  LocalCounterfactual kernel;
  int seed = 0;
  for (const int num_bits : {1, 2, 4, 8}) {
    for (const int length : {0, 1, 2, 30, 150}) {
      for (const double change : {0.0, 0.2, 1.0}) {
        for (const bool is_self : {true, false}) {
          const Case c = make_case(length, num_bits, change, is_self, ++seed);
          ASSERT_TRUE(run(c, kernel) == by_definition(c)) << "seed " << seed;
        }
      }
    }
  }
}

TEST(LocalCounterfactual, WrongArgumentsAreErrors) {
  LocalCounterfactual kernel;
  const Case good = make_case(5, 2, 1.0, true, 1);
  Case c = good;
  c.query[3] = 4;
  EXPECT_THROW(run(c, kernel), base::ArgumentError);
  c = good;
  c.key.pop_back();
  EXPECT_THROW(run(c, kernel), base::ArgumentError);
  c = good;
  c.gradient.pop_back();
  EXPECT_THROW(run(c, kernel), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::kernels
