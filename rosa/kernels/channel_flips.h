// What single-bit flips do to 1-bit ROSA: for one channel's bits (query = key = value), the outputs after each of its
// positions is flipped alone, all flips at once and exactly. Owns no gradients: estimators turn rewards into those.
//
// The output at row i is the bit after the latest of the longest earlier matches of the suffix that ends at i: 0, 1, or
// -1 where nothing matches (rosa/automaton/match.h defines a match). Flip p can change rows p and later only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace rosa::kernels {

// Row `row` has `output` once `flip` is flipped, which is not what it has without.
struct FlipChange {
  int32_t flip = 0;
  int32_t row = 0;
  int8_t output = 0;  // -1, 0, 1

  bool operator==(const FlipChange&) const = default;
};

// The longest channel: lengths and distances are kept in 16 bits.
inline constexpr int64_t kMaxChannelLength = 65535;

// One per thread: the workspace is reused. Time is at most quadratic in the length whatever the bits (about
// length^2 / 64 vector operations for random bits), memory linear.
class ChannelFlips {
 public:
  // Writes the outputs without a flip to `outputs` and returns every change, by row, in no particular order within one.
  // The result lives until the next call. `bits` are 0 or 1; ArgumentError otherwise and for sizes that differ or
  // exceed kMaxChannelLength.
  std::span<const FlipChange> changes(std::span<const uint8_t> bits, std::span<int8_t> outputs);

  // The same as sums: effects[p] = sum over rows i of reward(i, output with p flipped) - reward(i, output), in
  // ascending order of rows, where reward(i, o) is 0 for o = -1, zero_rewards[i] for 0, one_rewards[i] for 1.
  void effects(std::span<const uint8_t> bits, std::span<const double> zero_rewards, std::span<const double> one_rewards,
               std::span<int8_t> outputs, std::span<double> effects);

 private:
  std::vector<std::byte> workspace_;
  std::vector<FlipChange> changes_;
};

// The instruction set that runs: "avx512", "avx2" or "portable".
const char* channel_flips_instruction_set();

}  // namespace rosa::kernels
