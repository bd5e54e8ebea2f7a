#include "base/random.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace rosa::base {
namespace {

constexpr uint32_t low_word(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t high_word(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
constexpr uint64_t kFirstMultiplier = 0xD2511F53, kSecondMultiplier = 0xCD9E8D57;

constexpr std::array<uint32_t, 2> next_round_key(std::array<uint32_t, 2> key) {
  return {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
}

constexpr uint64_t join(uint32_t low, uint32_t high) { return low | (static_cast<uint64_t>(high) << 32); }

std::array<uint32_t, 4> philox_of(uint64_t first, uint64_t second, std::array<uint32_t, 2> key) {
  return philox4x32({low_word(first), high_word(first), low_word(second), high_word(second)}, key);
}

// Five 64-bit fields do not fit Philox's 192 bits: a first call folds seed, step and sample into the second's key.
std::array<uint32_t, 2> fold(const RandomKey& key) {
  auto words = philox_of(key.step, key.sample, {low_word(key.seed), high_word(key.seed)});
  return {words[0], words[1]};
}

double to_uniform(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }

constexpr size_t kLanes = 8;  // positions side by side, which the compiler turns into vectors
using Lanes = uint32_t[4][kLanes];

// Calls use(first, words) with the four words of positions key.position + first, + first + 1, ..., kLanes at a time,
// until `num_positions` are served.
template <typename Use>
void for_each_lanes(const RandomKey& key, size_t num_positions, const Use& use) {
  const std::array<uint32_t, 2> philox_key = fold(key);
  for (size_t begin = 0; begin < num_positions; begin += kLanes) {
    Lanes words;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const uint64_t position = key.position + begin + lane;
      words[0][lane] = low_word(position);
      words[1][lane] = high_word(position);
      words[2][lane] = low_word(key.layer);
      words[3][lane] = high_word(key.layer);
    }
    std::array<uint32_t, 2> round_key = philox_key;
    for (int round = 0; round < 10; ++round) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const uint64_t first = kFirstMultiplier * words[0][lane], second = kSecondMultiplier * words[2][lane];
        words[0][lane] = high_word(second) ^ words[1][lane] ^ round_key[0];
        words[1][lane] = low_word(second);
        words[2][lane] = high_word(first) ^ words[3][lane] ^ round_key[1];
        words[3][lane] = low_word(first);
      }
      round_key = next_round_key(round_key);
    }
    use(begin, words);
  }
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = kFirstMultiplier * counter[0], second = kSecondMultiplier * counter[2];
    counter = {high_word(second) ^ counter[1] ^ key[0], low_word(second), high_word(first) ^ counter[3] ^ key[1],
               low_word(first)};
    key = next_round_key(key);
  }
  return counter;
}

uint64_t random_bits(const RandomKey& key) { return RandomStream(key).bits(); }

double random_uniform(const RandomKey& key) { return RandomStream(key).uniform(); }

void random_uniforms(const RandomKey& key, std::span<double> values) {
  for_each_lanes(key, (values.size() + 3) / 4, [&](size_t first, const Lanes& words) {
    const auto count = std::min<size_t>(4 * kLanes, values.size() - 4 * first);
    for (size_t i = 0; i < count; ++i) values[4 * first + i] = (words[i % 4][i / 4] + 0.5) * 0x1.0p-32;
  });
}

void random_stream_uniforms(const RandomKey& key, std::span<double> values) {
  for_each_lanes(key, values.size(), [&](size_t first, const Lanes& words) {
    const auto count = std::min<size_t>(kLanes, values.size() - first);
    for (size_t i = 0; i < count; ++i) values[first + i] = to_uniform(join(words[0][i], words[1][i]));
  });
}

RandomStream::RandomStream(const RandomKey& key) : philox_key_(fold(key)), layer_(key.layer), position_(key.position) {}

uint64_t RandomStream::bits() {
  auto words = philox_of(position_++, layer_, philox_key_);
  return join(words[0], words[1]);
}

double RandomStream::uniform() { return to_uniform(bits()); }

uint64_t RandomStream::below(uint64_t size) {
  require(size > 0, "RandomStream::below: got size 0, expected at least 1");
  // Lemire 2019: the high word of bits * size is uniform once the few biased low words are thrown away.
  uint64_t threshold = (0 - size) % size;
  while (true) {
    auto product = static_cast<unsigned __int128>(bits()) * size;
    if (static_cast<uint64_t>(product) >= threshold) return static_cast<uint64_t>(product >> 64);
  }
}

int64_t RandomStream::between(int64_t low, int64_t high) {
  require(low <= high, "RandomStream::between: got [", low, ", ", high, "], expected low <= high");
  uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  uint64_t offset = span == ~uint64_t{0} ? bits() : below(span + 1);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

double RandomStream::normal() {
  // Box-Muller; 1 - u lies in (0, 1], so the logarithm is finite.
  double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

FeistelPermutation::FeistelPermutation(uint64_t size, uint64_t seed) : size_(size), seed_(seed) {
  require(size >= 1 && size <= (uint64_t{1} << 63), "FeistelPermutation: got size ", size, ", expected 1 to 2^63");
  int num_bits = std::max(2, static_cast<int>(std::bit_width(size - 1)));
  low_bits_ = num_bits / 2;
  high_bits_ = num_bits - low_bits_;
}

uint64_t FeistelPermutation::operator()(uint64_t index) const {
  require(index < size_, "FeistelPermutation: got index ", index, ", expected less than ", size_);
  const uint64_t low_mask = (uint64_t{1} << low_bits_) - 1;
  const uint64_t high_mask = (uint64_t{1} << high_bits_) - 1;
  const std::array<uint32_t, 2> key = {low_word(seed_), high_word(seed_)};
  auto round_value = [&](uint64_t round, uint64_t half) {
    auto words = philox_of(half, round, key);
    return join(words[0], words[1]);
  };
  do {
    uint64_t low = index & low_mask;
    uint64_t high = index >> low_bits_;
    for (uint64_t round = 0; round < 8; round += 2) {
      high ^= round_value(round, low) & high_mask;
      low ^= round_value(round + 1, high) & low_mask;
    }
    index = (high << low_bits_) | low;
  } while (index >= size_);
  return index;
}

}  // namespace rosa::base
