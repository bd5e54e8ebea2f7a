// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011) and seeded permutations: every number is a pure
// function of its key, so nothing has to be stored to resume, and no number depends on ranks or threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace rosa::base {

// Ten rounds of Philox 4x32; the function of the paper, for its known-answer tests.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// What a random number belongs to. Every field may take any value.
struct RandomKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t sample = 0;  // global index of the sample in its step
  uint64_t layer = 0;   // or any other number that tells uses apart
  uint64_t position = 0;
};

// 64 random bits.
uint64_t random_bits(const RandomKey& key);

// Uniform in [0, 1), a multiple of 2^-53.
double random_uniform(const RandomKey& key);

// Fills `values` with uniform numbers in (0, 1), odd multiples of 2^-33. A position gives four of them: values[i]
// belongs to key.position + i / 4. Where thousands are drawn this costs a fraction of random_uniform.
void random_uniforms(const RandomKey& key, std::span<double> values);

// RandomStream(key).uniform() as often as `values` is long, at a fraction of its cost.
void random_stream_uniforms(const RandomKey& key, std::span<double> values);

// The numbers of one key at positions key.position, key.position + 1, ..., at half the cost of asking for each.
class RandomStream {
 public:
  explicit RandomStream(const RandomKey& key);

  uint64_t bits();
  double uniform();
  // Uniform in [0, size), without bias; size > 0.
  uint64_t below(uint64_t size);
  // Uniform in [low, high]; low <= high.
  int64_t between(int64_t low, int64_t high);
  // Standard normal.
  double normal();

 private:
  std::array<uint32_t, 2> philox_key_;
  uint64_t layer_;
  uint64_t position_;
};

// A seeded bijection of [0, size), O(1) in time and memory: a Feistel network over the next power of two,
// walked until it lands inside.
class FeistelPermutation {
 public:
  // 1 <= size <= 2^63.
  FeistelPermutation(uint64_t size, uint64_t seed);

  // index < size.
  uint64_t operator()(uint64_t index) const;
  uint64_t size() const { return size_; }

 private:
  uint64_t size_;
  uint64_t seed_;
  int low_bits_ = 1;
  int high_bits_ = 1;
};

}  // namespace rosa::base
