// Every output after every single flip, against the definition evaluated anew for each flipped string.
#include "rosa/kernels/channel_flips.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {
namespace {

using Bits = std::vector<uint8_t>;
using Outputs = std::vector<int8_t>;

// The definition of rosa/automaton/match.h with query = key = value, row by row over the diagonals.
Outputs outputs_of(const Bits& bits) {
  const auto length = static_cast<int>(bits.size());
  Outputs outputs(bits.size(), -1);
  std::vector<int> runs(bits.size() + 1, 0);
  for (int row = 0; row < length; ++row) {
    int best = 0;
    for (int distance = 1; distance <= row; ++distance) {
      runs[distance] = bits[row] == bits[row - distance] ? runs[distance] + 1 : 0;
      if (runs[distance] > best) {
        best = runs[distance];
        outputs[row] = static_cast<int8_t>(bits[row - distance + 1]);
      }
    }
  }
  return outputs;
}

using Changes = std::map<std::pair<int, int>, int>;  // (flip, row) -> output

Changes brute_force(Bits bits, const std::vector<int>& flips) {
  const Outputs base = outputs_of(bits);
  Changes changes;
  for (const int flip : flips) {
    bits[flip] ^= 1;
    const Outputs outputs = outputs_of(bits);
    bits[flip] ^= 1;
    for (int row = 0; row < static_cast<int>(bits.size()); ++row) {
      if (outputs[row] != base[row]) changes[{flip, row}] = outputs[row];
    }
  }
  return changes;
}

// Runs one form on buffers of its own.
class Form {
 public:
  explicit Form(const FlipVariant& variant) : variant_(variant) {}

  std::vector<FlipChange> changes(const Bits& bits, Outputs& outputs) {
    const size_t length = bits.size();
    std::vector<std::vector<uint32_t>> memory(15, std::vector<uint32_t>(length + 64));
    FlipProblem problem{};
    problem.bits = bits.data();
    problem.length = static_cast<int32_t>(length);
    problem.outputs = outputs.data();
    size_t next = 0;
    const auto take = [&] { return memory[next++].data(); };
    for (void*& run : problem.runs) run = take();
    for (int32_t*& active : problem.active) active = reinterpret_cast<int32_t*>(take());
    problem.route = reinterpret_cast<int32_t*>(take());
    problem.searched = reinterpret_cast<int32_t*>(take());
    problem.gains = reinterpret_cast<int32_t*>(take());
    problem.gain = take();
    problem.best = take();
    problem.whole = take();
    problem.is_active = reinterpret_cast<uint8_t*>(take());
    std::vector<FlipChange> list;
    FlipChange buffer[7];
    ChangeList sink{.buffer = buffer,
                    .capacity = 7,
                    .flush =
                        [](void* target, const FlipChange* changes, int32_t count) {
                          auto& all = *static_cast<std::vector<FlipChange>*>(target);
                          all.insert(all.end(), changes, changes + count);
                        },
                    .target = &list};
    variant_.list_changes(problem, sink);
    sink.finish();
    return list;
  }

 private:
  const FlipVariant& variant_;
};

std::string text_of(const Bits& bits) {
  std::string text;
  for (const uint8_t bit : bits) text += static_cast<char>('0' + bit);
  return text;
}

// Compares all forms with brute force on the given flips (empty: all).
void check(const Bits& bits, std::vector<int> flips = {}) {
  const bool all = flips.empty();
  for (int p = 0; all && p < static_cast<int>(bits.size()); ++p) flips.push_back(p);
  const Changes expected = brute_force(bits, flips);
  const Outputs base = outputs_of(bits);
  std::vector<bool> wanted(bits.size(), false);
  for (const int flip : flips) wanted[flip] = true;
  const FlipVariants forms = flip_variants();
  for (int form = 0; form < forms.count; ++form) {
    Outputs outputs(bits.size());
    Changes actual;
    int last_row = 0;
    for (const FlipChange& change : Form(forms.variants[form]).changes(bits, outputs)) {
      ASSERT_GE(change.row, last_row);
      last_row = change.row;
      if (!wanted[change.flip]) continue;
      const bool is_new = actual.emplace(std::pair(change.flip, change.row), change.output).second;
      ASSERT_TRUE(is_new) << "told twice: flip " << change.flip << ", row " << change.row;
    }
    ASSERT_EQ(outputs, base) << forms.variants[form].name << " " << text_of(bits);
    ASSERT_EQ(actual, expected) << forms.variants[form].name << " " << text_of(bits);
  }
}

Bits random_bits(int length, double ones, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::bernoulli_distribution bit(ones);
  Bits bits(length);
  for (uint8_t& b : bits) b = bit(generator);
  return bits;
}

Bits periodic(int length, int period, uint64_t seed) {
  Bits bits = random_bits(length, 0.5, seed);
  for (int t = period; t < length; ++t) bits[t] = bits[t - period];
  return bits;
}

Bits thue_morse(int length) {
  Bits bits(length);
  for (int t = 0; t < length; ++t) bits[t] = static_cast<uint8_t>(__builtin_popcount(t) & 1);
  return bits;
}

Bits fibonacci(int length) {
  std::string a = "0", b = "01";
  while (static_cast<int>(b.size()) < length) {
    std::string next = b + a;
    a = std::move(b);
    b = std::move(next);
  }
  Bits bits(length);
  for (int t = 0; t < length; ++t) bits[t] = b[t] == '1';
  return bits;
}

// Zeros with a one after 1, 2, 3, ... of them.
Bits growing_runs(int length) {
  Bits bits(length, 0);
  for (int t = 0, run = 1; t + run < length; t += run + 1, ++run) bits[t + run] = 1;
  return bits;
}

std::vector<Bits> families(int length) {
  std::vector<Bits> result{Bits(length, 0), Bits(length, 1), thue_morse(length), fibonacci(length),
                           growing_runs(length)};
  for (const int period : {2, 3, 7, 20, length / 2 + 1}) result.push_back(periodic(length, period, period));
  for (const double ones : {0.03, 0.2, 0.5, 0.9}) result.push_back(random_bits(length, ones, length));
  Bits noisy = periodic(length, 11, 5);
  const Bits noise = random_bits(length, 0.02, 6);
  for (int t = 0; t < length; ++t) noisy[t] ^= noise[t];
  result.push_back(noisy);
  return result;
}

TEST(ChannelFlips, EveryBinaryStringToLength13) {
  for (int length = 0; length <= 13; ++length) {
    for (int code = 0; code < 1 << length; ++code) {
      Bits bits(length);
      for (int t = 0; t < length; ++t) bits[t] = code >> t & 1;
      ASSERT_NO_FATAL_FAILURE(check(bits));
    }
  }
}

TEST(ChannelFlips, FamiliesAroundTheSizesOfVectorsAndElements) {
  for (const int length : {16, 17, 33, 63, 64, 65, 66, 100, 128, 129, 200, 254, 255, 256}) {
    for (const Bits& bits : families(length)) ASSERT_NO_FATAL_FAILURE(check(bits));
  }
}

TEST(ChannelFlips, SamplesOfLongChannels) {
  for (const int length : {512, 2048}) {
    std::mt19937_64 generator(length);
    for (const Bits& bits : families(length)) {
      std::vector<int> flips{0, length / 2, length - 1};
      for (int k = 0; k < 4; ++k) flips.push_back(static_cast<int>(generator() % length));
      std::sort(flips.begin(), flips.end());
      flips.erase(std::unique(flips.begin(), flips.end()), flips.end());
      ASSERT_NO_FATAL_FAILURE(check(bits, flips));
    }
  }
}

TEST(ChannelFlips, EffectsAreTheSumsOfTheChangesInOrderOfRows) {
  ChannelFlips flips;
  for (const int length : {0, 1, 70, 300}) {
    const Bits bits = random_bits(length, 0.4, 3);
    std::mt19937_64 generator(length);
    std::normal_distribution<double> normal;
    std::vector<double> zero(length), one(length), effects(length), expected(length);
    for (double& reward : zero) reward = normal(generator);
    for (double& reward : one) reward = normal(generator);
    const Outputs base = outputs_of(bits);
    const auto reward = [&](int row, int output) { return output < 0 ? 0.0 : output == 0 ? zero[row] : one[row]; };
    std::vector<int> all(length);
    for (int p = 0; p < length; ++p) all[p] = p;
    for (const auto& [place, output] : brute_force(bits, all)) {
      expected[place.first] += reward(place.second, output) - reward(place.second, base[place.second]);
    }
    Outputs outputs(length);
    flips.effects(bits, zero, one, outputs, effects);
    EXPECT_EQ(effects, expected);
    EXPECT_EQ(outputs, base);
  }
}

TEST(ChannelFlips, WrongArgumentsAreErrors) {
  ChannelFlips flips;
  Outputs outputs(3), short_outputs(2);
  std::vector<double> rewards(3), effects(3), short_effects(2);
  EXPECT_THROW(flips.changes(Bits{0, 2, 1}, outputs), base::ArgumentError);
  EXPECT_THROW(flips.changes(Bits{0, 1, 1}, short_outputs), base::ArgumentError);
  EXPECT_THROW(flips.effects(Bits{0, 1, 1}, rewards, rewards, outputs, short_effects), base::ArgumentError);
  const Bits too_long(kMaxChannelLength + 1);
  Outputs many(too_long.size());
  EXPECT_THROW(flips.changes(too_long, many), base::ArgumentError);
}

}  // namespace
}  // namespace rosa::kernels
