// Where every row matches after every single flip, against the definition evaluated anew for each flipped sequence.
#include "rosa/kernels/symbol_flips.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"
#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {
namespace {

using Symbols = std::vector<uint16_t>;
using Positions = std::vector<int32_t>;

// SPEC section 1, row by row over the diagonals.
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

using Flip = std::tuple<int, int, int>;  // side, position, bit
using Changes = std::map<std::tuple<int, int, int, int>, int>;

Changes brute_force(Symbols query, Symbols key, const std::vector<Flip>& flips) {
  const Positions base = positions_of(query, key);
  Changes changes;
  for (const auto& [side, position, bit] : flips) {
    uint16_t& symbol = (side == 0 ? query : key)[position];
    symbol ^= 1 << bit;
    const Positions positions = positions_of(query, key);
    symbol ^= 1 << bit;
    for (int row = 0; row < static_cast<int>(query.size()); ++row) {
      if (positions[row] != base[row]) changes[{side, position, bit, row}] = positions[row];
    }
  }
  return changes;
}

std::vector<MatchChange> run_form(const FlipVariant& variant, const Symbols& query, const Symbols& key, int num_bits,
                                  Positions& positions) {
  const size_t length = query.size(), num_flips = length * num_bits;
  std::vector<std::vector<uint32_t>> memory;
  const auto take = [&](size_t count) {
    memory.emplace_back(count + 64);
    return memory.back().data();
  };
  SymbolFlipProblem problem{};
  problem.query = query.data();
  problem.key = key.data();
  problem.length = static_cast<int32_t>(length);
  problem.num_bits = num_bits;
  problem.positions = positions.data();
  for (uint16_t*& run : problem.runs) run = reinterpret_cast<uint16_t*>(take(length + 64));
  problem.newest = reinterpret_cast<int32_t*>(take(size_t{1} << num_bits));
  problem.best = take(length + 1);
  problem.whole = take(length + 1);
  for (int side = 0; side < 2; ++side) {
    problem.mends[side] = take(num_flips + num_bits);
    problem.mended_list[side] = reinterpret_cast<int32_t*>(take(num_flips + num_bits));
    problem.searched[side] = reinterpret_cast<int32_t*>(take(num_flips));
    problem.is_active[side] = reinterpret_cast<uint8_t*>(take(num_flips));
    problem.active[side] = reinterpret_cast<ActiveFlip*>(take(3 * num_flips));
  }
  problem.next = reinterpret_cast<ActiveFlip*>(take(3 * num_flips));
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
  variant.list_match_changes(problem, sink);
  sink.finish();
  return list;
}

std::string text_of(const Symbols& symbols) {
  std::string text;
  for (const uint16_t symbol : symbols) text += std::to_string(symbol) + " ";
  return text;
}

std::vector<Flip> all_flips(int length, int num_bits) {
  std::vector<Flip> flips;
  for (int side = 0; side < 2; ++side) {
    for (int position = 0; position < length; ++position) {
      for (int bit = 0; bit < num_bits; ++bit) flips.emplace_back(side, position, bit);
    }
  }
  return flips;
}

// Compares all forms with brute force on the given flips.
void check(const Symbols& query, const Symbols& key, int num_bits, const std::vector<Flip>& flips) {
  const Changes expected = brute_force(query, key, flips);
  const Positions base = positions_of(query, key);
  std::vector<bool> wanted(2 * query.size() * num_bits, false);
  const auto index = [&](int side, int position, int bit) { return (side * query.size() + position) * num_bits + bit; };
  for (const auto& [side, position, bit] : flips) wanted[index(side, position, bit)] = true;
  const FlipVariants forms = flip_variants();
  for (int form = 0; form < forms.count; ++form) {
    Positions positions(query.size());
    Changes actual;
    for (const MatchChange& change : run_form(forms.variants[form], query, key, num_bits, positions)) {
      const int side = static_cast<int>(change.symbol);
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
        return text + ": " + (side == 0 ? "query " : "key ") + std::to_string(flip) + " bit " + std::to_string(bit) +
               " row " + std::to_string(row) + " expected " + std::to_string(position) + " got " +
               (found == actual.end() ? "none" : std::to_string(found->second)) + "\nq " + text_of(query) + "\nk " +
               text_of(key);
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

TEST(SymbolFlips, EffectsAreTheSumsOfTheChanges) {
  SymbolFlips flips;
  for (const int value_bits : {1, 5, 8, 13}) {
    const int length = 150, num_bits = 3;
    const Symbols query = random_symbols(length, num_bits, 1), key = random_symbols(length, num_bits, 2);
    const Symbols value = random_symbols(length, value_bits, 3);
    std::mt19937_64 generator(4);
    std::vector<float> gradient(length * value_bits);  // whole numbers: sums are exact in any order
    for (float& g : gradient) g = static_cast<float>(static_cast<int>(generator() % 15) - 7);
    const auto reward = [&](int row, int position) {
      double sum = 0;
      for (int bit = 0; position >= 0 && bit < value_bits; ++bit) {
        if ((value[position + 1] >> bit & 1) != 0) sum += gradient[row * value_bits + bit];
      }
      return sum;
    };
    const Positions base = positions_of(query, key);
    std::vector<double> expected[2], actual[2];
    for (int side = 0; side < 2; ++side) {
      expected[side].assign(length * num_bits, 0.0);
      actual[side].assign(length * num_bits, 1.0);
    }
    for (const auto& [place, position] : brute_force(query, key, all_flips(length, num_bits))) {
      const auto& [side, flip, bit, row] = place;
      expected[side][flip * num_bits + bit] += reward(row, position) - reward(row, base[row]);
    }
    Positions positions(length);
    flips.effects(query, key, num_bits, {.value = value, .value_bits = value_bits, .gradient = gradient}, positions,
                  actual[0], actual[1]);
    EXPECT_EQ(actual[0], expected[0]);
    EXPECT_EQ(actual[1], expected[1]);
    EXPECT_EQ(positions, base);
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
  const Symbols too_long(kMaxFlipLength + 1);
  Positions many(too_long.size());
  EXPECT_THROW(flips.changes(too_long, too_long, 1, many), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::kernels
