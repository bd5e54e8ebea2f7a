// Where every row matches after every single flip, against the definition evaluated anew for each flipped sequence.
#include "rosa/kernels/symbol_flips.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <random>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "rosa/kernels/flip_variants.h"
#include "rosa/kernels/workspace_cutter.h"

namespace rosa::kernels {
namespace {

using Symbols = std::vector<uint16_t>;
using Positions = std::vector<int32_t>;

// The definition of rosa/automaton/match.h, row by row over the diagonals.
Positions positions_of(const Symbols& query, const Symbols& key) {
  const auto length = static_cast<int>(query.size());
  Positions positions(query.size(), -1);
  std::vector<int> runs(query.size() + 1, 0);
  for (int row = 0; row < length; ++row) {
    int best = 0;
    for (int distance = 1; distance <= row; ++distance) {
      runs[distance] = query[row] == key[row - distance] ? runs[distance] + 1 : 0;
      if (runs[distance] > best) {
        best = runs[distance];
        positions[row] = row - distance;
      }
    }
  }
  return positions;
}

constexpr int kTied = 2;                 // a side beside query (0) and key (1): both at once, of one sequence
using Flip = std::tuple<int, int, int>;  // side, position, bit
using Changes = std::map<std::tuple<int, int, int, int>, int>;

Changes brute_force(Symbols query, Symbols key, const std::vector<Flip>& flips) {
  const Positions base = positions_of(query, key);
  Changes changes;
  for (const auto& [side, position, bit] : flips) {
    const auto mask = static_cast<uint16_t>(1 << bit);
    if (side != 1) query[position] ^= mask;
    if (side != 0) key[position] ^= mask;
    const Positions positions = positions_of(query, key);
    if (side != 1) query[position] ^= mask;
    if (side != 0) key[position] ^= mask;
    for (int row = 0; row < static_cast<int>(query.size()); ++row) {
      if (positions[row] != base[row]) changes[{side, position, bit, row}] = positions[row];
    }
  }
  return changes;
}

std::vector<MatchChange> run_form(decltype(FlipVariant::list_match_changes) run, const Symbols& query,
                                  const Symbols& key, int num_bits, Positions& positions) {
  WorkspaceCutter measure(nullptr);
  cut_symbol_flips(measure, query, key, num_bits, positions);
  std::vector<std::byte> workspace(measure.size());
  WorkspaceCutter cutter(workspace.data());
  const SymbolFlipProblem problem = cut_symbol_flips(cutter, query, key, num_bits, positions);
  std::vector<MatchChange> list;
  MatchChange buffer[7];
  MatchChangeList sink{.buffer = buffer,
                       .capacity = 7,
                       .flush =
                           [](void* target, const MatchChange* changes, int32_t count) {
                             auto& all = *static_cast<std::vector<MatchChange>*>(target);
                             all.insert(all.end(), changes, changes + count);
                           },
                       .target = &list,
                       .num_bits = num_bits};
  run(problem, sink);
  sink.finish();
  return list;
}

std::string text_of(const Symbols& symbols) {
  std::string text;
  for (const uint16_t symbol : symbols) text += std::to_string(symbol) + " ";
  return text;
}

std::vector<Flip> all_flips(int length, int num_bits, const std::vector<int>& sides = {0, 1}) {
  std::vector<Flip> flips;
  for (const int side : sides) {
    for (int position = 0; position < length; ++position) {
      for (int bit = 0; bit < num_bits; ++bit) flips.emplace_back(side, position, bit);
    }
  }
  return flips;
}

// Compares all forms with brute force on the given flips, which are all tied or none.
void check(const Symbols& query, const Symbols& key, int num_bits, const std::vector<Flip>& flips) {
  const Changes expected = brute_force(query, key, flips);
  const Positions base = positions_of(query, key);
  const bool is_tied = !flips.empty() && std::get<0>(flips.front()) == kTied;
  std::vector<bool> wanted(3 * query.size() * num_bits, false);
  const auto index = [&](int side, int position, int bit) { return (side * query.size() + position) * num_bits + bit; };
  for (const auto& [side, position, bit] : flips) wanted[index(side, position, bit)] = true;
  const FlipVariants forms = flip_variants();
  for (int form = 0; form < forms.count; ++form) {
    Positions positions(query.size());
    Changes actual;
    const FlipVariant& variant = forms.variants[form];
    const auto run = is_tied ? variant.list_tied_changes : variant.list_match_changes;
    for (const MatchChange& change : run_form(run, query, key, num_bits, positions)) {
      const int side = is_tied ? kTied : static_cast<int>(change.symbol);
      if (!wanted[index(side, change.flip, change.bit)]) continue;
      const bool is_new = actual.emplace(std::tuple(side, change.flip, change.bit, change.row), change.position).second;
      ASSERT_TRUE(is_new) << "told twice";
    }
    const auto where = [&] {
      std::string text = forms.variants[form].name;
      for (const auto& [place, position] : expected) {
        const auto found = actual.find(place);
        if (found != actual.end() && found->second == position) continue;
        const auto& [side, flip, bit, row] = place;
        return text + ": " +
               (side == kTied ? "both "
                : side == 0   ? "query "
                              : "key ") +
               std::to_string(flip) + " bit " + std::to_string(bit) + " row " + std::to_string(row) + " expected " +
               std::to_string(position) + " got " + (found == actual.end() ? "none" : std::to_string(found->second)) +
               "\nq " + text_of(query) + "\nk " + text_of(key);
      }
      return text + ": more than expected\nq " + text_of(query) + "\nk " + text_of(key);
    };
    ASSERT_EQ(positions, base) << where();
    ASSERT_TRUE(actual == expected) << where();
  }
}

Symbols random_symbols(int length, int num_bits, uint64_t seed, double zeros = 0.0) {
  std::mt19937_64 generator(seed);
  std::bernoulli_distribution zero(zeros);
  Symbols symbols(length);
  for (uint16_t& symbol : symbols) symbol = zero(generator) ? 0 : generator() & ((1U << num_bits) - 1);
  return symbols;
}

Symbols periodic(int length, int num_bits, int period, double noise, uint64_t seed) {
  Symbols symbols = random_symbols(length, num_bits, seed);
  for (int t = period; t < length; ++t) symbols[t] = symbols[t - period];
  std::mt19937_64 generator(seed + 1);
  std::bernoulli_distribution noisy(noise);
  for (uint16_t& symbol : symbols) {
    if (noisy(generator)) symbol ^= 1 << generator() % num_bits;
  }
  return symbols;
}

// Queries and keys: the same, another, shifted, constant, periodic, with long runs.
std::vector<std::pair<Symbols, Symbols>> families(int length, int num_bits) {
  std::vector<std::pair<Symbols, Symbols>> result;
  const auto add_same = [&](const Symbols& symbols) { result.emplace_back(symbols, symbols); };
  const Symbols random = random_symbols(length, num_bits, length);
  add_same(random);
  result.emplace_back(random, random_symbols(length, num_bits, length + 1));
  add_same(Symbols(length, 0));
  result.emplace_back(Symbols(length, 1), Symbols(length, 0));
  for (const double zeros : {0.7, 0.97}) add_same(random_symbols(length, num_bits, 3, zeros));
  for (const int period : {2, 7, length / 3 + 1}) {
    add_same(periodic(length, num_bits, period, 0.0, period));
    add_same(periodic(length, num_bits, period, 0.03, period));
    result.emplace_back(periodic(length, num_bits, period, 0.02, 9), periodic(length, num_bits, period, 0.0, 9));
  }
  Symbols shifted = random;
  std::rotate(shifted.begin(), shifted.begin() + length / 2, shifted.end());
  result.emplace_back(random, shifted);
  return result;
}

TEST(SymbolFlips, EveryBinaryPairToLength6) {
  for (int length = 0; length <= 6; ++length) {
    const std::vector<Flip> flips = all_flips(length, 1);
    for (int code = 0; code < 1 << 2 * length; ++code) {
      Symbols query(length), key(length);
      for (int t = 0; t < length; ++t) {
        query[t] = code >> t & 1;
        key[t] = code >> (length + t) & 1;
      }
      ASSERT_NO_FATAL_FAILURE(check(query, key, 1, flips));
    }
  }
}

TEST(SymbolFlips, ManyShortSequences) {
  for (int seed = 0; seed < 300; ++seed) {
    const int num_bits = 1 + seed % 3, length = 20 + seed % 30;
    const Symbols key = random_symbols(length, num_bits, seed, 0.1 * (seed % 8));
    const Symbols query = seed % 2 == 0 ? key : random_symbols(length, num_bits, seed + 1000, 0.1 * (seed % 7));
    ASSERT_NO_FATAL_FAILURE(check(query, key, num_bits, all_flips(length, num_bits)));
  }
}

TEST(SymbolFlips, FamiliesAroundTheSizesOfVectors) {
  for (const int num_bits : {1, 2, 4, 8, 16}) {
    for (const int length : {32, 33, 65, 100}) {
      if (num_bits > 4 && length > 65) continue;
      for (const auto& [query, key] : families(length, num_bits)) {
        ASSERT_NO_FATAL_FAILURE(check(query, key, num_bits, all_flips(length, num_bits)));
      }
    }
  }
}

TEST(SymbolFlips, SamplesOfLongSequences) {
  for (const int num_bits : {1, 4, 8}) {
    for (const int length : {300, 1100}) {
      for (const auto& [query, key] : families(length, num_bits)) {
        std::mt19937_64 generator(length);
        std::vector<Flip> flips;
        for (int k = 0; k < 8; ++k) {
          flips.emplace_back(k % 2, generator() % length, generator() % num_bits);
        }
        ASSERT_NO_FATAL_FAILURE(check(query, key, num_bits, flips));
      }
    }
  }
}

TEST(TiedFlips, EverySequenceOfTwoBitsToLength6AndOfOneTo11) {
  for (const auto& [num_bits, last_length] : {std::pair(1, 11), std::pair(2, 6)}) {
    for (int length = 0; length <= last_length; ++length) {
      const std::vector<Flip> flips = all_flips(length, num_bits, {kTied});
      for (int code = 0; code < 1 << num_bits * length; ++code) {
        Symbols symbols(length);
        for (int t = 0; t < length; ++t) symbols[t] = code >> num_bits * t & ((1 << num_bits) - 1);
        ASSERT_NO_FATAL_FAILURE(check(symbols, symbols, num_bits, flips));
      }
    }
  }
}

TEST(TiedFlips, FamiliesAroundTheSizesOfVectors) {
  for (const int num_bits : {1, 2, 4, 8, 16}) {
    for (const int length : {32, 33, 65, 100}) {
      if (num_bits > 4 && length > 65) continue;
      for (const auto& [query, key] : families(length, num_bits)) {
        ASSERT_NO_FATAL_FAILURE(check(key, key, num_bits, all_flips(length, num_bits, {kTied})));
      }
    }
  }
}

TEST(TiedFlips, SamplesOfLongSequences) {
  for (const int num_bits : {1, 4, 8}) {
    for (const auto& [query, key] : families(600, num_bits)) {
      std::mt19937_64 generator(num_bits);
      std::vector<Flip> flips;
      for (int k = 0; k < 8; ++k) flips.emplace_back(kTied, generator() % key.size(), generator() % num_bits);
      ASSERT_NO_FATAL_FAILURE(check(key, key, num_bits, flips));
    }
  }
}

// Whole numbers: sums are exact in any order.
std::vector<float> whole_gradient(size_t size, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<float> gradient(size);
  for (float& g : gradient) g = static_cast<float>(static_cast<int>(generator() % 15) - 7);
  return gradient;
}

double reward(const Symbols& value, int value_bits, const std::vector<float>& gradient, int row, int position) {
  double sum = 0;
  for (int bit = 0; position >= 0 && bit < value_bits; ++bit) {
    if ((value[position + 1] >> bit & 1) != 0) sum += gradient[row * value_bits + bit];
  }
  return sum;
}

double total_reward(const Symbols& query, const Symbols& key, const Symbols& value, int value_bits,
                    const std::vector<float>& gradient) {
  const Positions positions = positions_of(query, key);
  double sum = 0;
  for (int row = 0; row < static_cast<int>(query.size()); ++row) {
    sum += reward(value, value_bits, gradient, row, positions[row]);
  }
  return sum;
}

// The change of the sum of all rewards by flipping each bit of those sequences (query, key, value) at once.
std::vector<double> brute_force_effects(const std::array<Symbols, 3>& sequences, const std::array<bool, 3>& flipped,
                                        int num_bits, int value_bits, const std::vector<float>& gradient) {
  const auto total = [&](const std::array<Symbols, 3>& s) {
    return total_reward(s[0], s[1], s[2], value_bits, gradient);
  };
  const double base = total(sequences);
  std::vector<double> effects;
  for (size_t position = 0; position < sequences[0].size(); ++position) {
    for (int bit = 0; bit < num_bits; ++bit) {
      std::array<Symbols, 3> changed = sequences;
      for (int k = 0; k < 3; ++k) {
        if (flipped[k]) changed[k][position] ^= 1 << bit;
      }
      effects.push_back(total(changed) - base);
    }
  }
  return effects;
}

TEST(SymbolFlips, EffectsAreThoseOfTheFlippedSequences) {
  SymbolFlips flips;
  for (const int value_bits : {1, 5, 8, 13}) {
    const int length = 150, num_bits = 3;
    const std::array<Symbols, 3> all{random_symbols(length, num_bits, 1), random_symbols(length, num_bits, 2, 0.3),
                                     random_symbols(length, value_bits, 3)};
    const auto& [query, key, value] = all;
    const std::vector<float> gradient = whole_gradient(length * value_bits, 4);
    const SymbolFlips::Rewards rewards{.value = value, .value_bits = value_bits, .gradient = gradient};
    std::vector<double> of_query(length * num_bits, 1.0), of_key = of_query, of_value(length * value_bits, 1.0);
    Positions positions(length);
    flips.effects(query, key, num_bits, rewards, positions, of_query, of_key);
    EXPECT_EQ(positions, positions_of(query, key));
    EXPECT_EQ(of_query, brute_force_effects(all, {true, false, false}, num_bits, value_bits, gradient));
    EXPECT_EQ(of_key, brute_force_effects(all, {false, true, false}, num_bits, value_bits, gradient));
    SymbolFlips::value_effects(rewards, positions, of_value);
    EXPECT_EQ(of_value, brute_force_effects(all, {false, false, true}, value_bits, value_bits, gradient));
  }
}

TEST(TiedFlips, EffectsAreThoseOfTheFlippedSequences) {
  SymbolFlips flips;
  for (const double zeros : {0.0, 0.8, 1.0}) {
    const int length = 150, num_bits = 3, value_bits = 5;
    const Symbols symbols = random_symbols(length, num_bits, 1, zeros), value = random_symbols(length, value_bits, 2);
    const std::vector<float> gradient = whole_gradient(length * value_bits, 3);
    std::vector<double> effects(length * num_bits, 1.0);
    Positions positions(length);
    flips.tied_effects(symbols, num_bits, {.value = value, .value_bits = value_bits, .gradient = gradient}, positions,
                       effects);
    EXPECT_EQ(positions, positions_of(symbols, symbols));
    EXPECT_EQ(effects,
              brute_force_effects({symbols, symbols, value}, {true, true, false}, num_bits, value_bits, gradient));
    const std::span<const float> narrow(gradient.data(), length * num_bits);
    flips.tied_effects(symbols, num_bits, narrow, positions, effects);
    EXPECT_EQ(effects, brute_force_effects({symbols, symbols, symbols}, {true, true, true}, num_bits, num_bits,
                                           {narrow.begin(), narrow.end()}));
  }
}

TEST(SymbolFlips, WrongArgumentsAreErrors) {
  SymbolFlips flips;
  Positions positions(3), few(2);
  EXPECT_THROW(flips.changes(Symbols{0, 2, 1}, Symbols{0, 1, 1}, 1, positions), base::ArgumentError);
  EXPECT_THROW(flips.changes(Symbols{0, 1, 1}, Symbols{0, 1, 4}, 2, positions), base::ArgumentError);
  EXPECT_THROW(flips.changes(Symbols{0, 1, 1}, Symbols{0, 1}, 1, positions), base::ArgumentError);
  EXPECT_THROW(flips.changes(Symbols{0, 1, 1}, Symbols{0, 1, 1}, 1, few), base::ArgumentError);
  EXPECT_THROW(flips.changes(Symbols{0, 1, 1}, Symbols{0, 1, 1}, 17, positions), base::ArgumentError);
  const Symbols bits{0, 1, 1};
  std::vector<float> gradient(3);
  std::vector<double> effects(3), narrow(2);
  const SymbolFlips::Rewards rewards{.value = bits, .value_bits = 1, .gradient = gradient};
  EXPECT_THROW(flips.effects(bits, bits, 1, rewards, positions, effects, narrow), base::ArgumentError);
  EXPECT_THROW(flips.tied_effects(bits, 1, rewards, positions, narrow), base::ArgumentError);
  EXPECT_THROW(flips.tied_effects(bits, 2, gradient, positions, effects), base::ArgumentError);
  const SymbolFlips::Rewards wide{.value = bits, .value_bits = 2, .gradient = gradient};
  EXPECT_THROW(flips.effects(bits, bits, 1, wide, positions, effects, effects), base::ArgumentError);
  EXPECT_THROW(SymbolFlips::value_effects(rewards, Positions{-1, 0, 2}, effects), base::ArgumentError);
  const Symbols too_long(kMaxFlipLength + 1);
  Positions many(too_long.size());
  EXPECT_THROW(flips.changes(too_long, too_long, 1, many), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::kernels
