// The rows' bodies that the CPU and the CUDA kernels share, against bit arithmetic spelt out.
#include "rosa/kernels/pack_bits_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "rosa/kernels/pack_bits.h"

namespace rosa::kernels {
namespace {

// [2][3][5][num_bits] with the middle dimension innermost but one, as merged heads lie.
LogitLayout transposed_layout(int64_t num_bits) {
  return {2, 3, 5, num_bits, 15 * num_bits, num_bits, 3 * num_bits, 1};
}

template <class Logit>
std::vector<Logit> random_logits(size_t size) {
  std::mt19937 generator(7);
  std::normal_distribution<double> normal;
  std::vector<Logit> logits(size);
  for (Logit& logit : logits) logit = static_cast<Logit>(normal(generator));
  logits[0] = 0;
  logits[1] = -Logit{0};
  logits[2] = std::numeric_limits<Logit>::quiet_NaN();
  logits[3] = std::numeric_limits<Logit>::infinity();
  return logits;
}

template <class Logit, class Symbol>
void check(int64_t num_bits) {
  const LogitLayout layout = transposed_layout(num_bits);
  const auto logits = random_logits<Logit>(static_cast<size_t>(30 * num_bits));
  std::vector<Symbol> symbols(30);
  pack_bits(logits.data(), layout, symbols.data());
  std::vector<Logit> bits(logits.size(), -1);
  unpack_bits(symbols.data(), layout, bits.data());
  for (int64_t row = 0; row < num_rows(layout); ++row) {
    const int64_t offset = row_offset(layout, row);
    const int64_t outer = row / 15, middle = row / 5 % 3, inner = row % 5;
    ASSERT_EQ(offset, outer * layout.outer_stride + middle * layout.middle_stride + inner * layout.inner_stride);
    EXPECT_EQ(static_cast<uint64_t>(symbols[static_cast<size_t>(row)]),
              pack_row(logits.data() + offset, num_bits, layout.bit_stride));
    for (int64_t bit = 0; bit < num_bits; ++bit) {
      const size_t index = static_cast<size_t>(offset + bit);
      EXPECT_EQ(bits[index], logits[index] > 0 ? 1 : 0);
    }
  }
}

TEST(PackBitsRow, RowsOfEveryWidth) {
  for (const int64_t num_bits : {1, 4, 7, 8}) {
    check<float, uint8_t>(num_bits);
    check<double, uint8_t>(num_bits);
  }
  for (const int64_t num_bits : {9, 31, 32, 33, 63}) {
    check<float, int64_t>(num_bits);
    check<double, int64_t>(num_bits);
  }
}

TEST(PackBitsRow, BlendIsSoftPlusAlphaTimesTheDifference) {
  const std::vector<float> soft = {0.25F, 0.5F, 0.125F};
  std::vector<float> bits(3);
  blend_row(uint64_t{0b101}, soft.data(), 1, 0.5F, bits.data(), 3, 1);
  EXPECT_EQ(bits, (std::vector<float>{0.625F, 0.25F, 0.5625F}));
  blend_row(uint64_t{0b101}, soft.data(), 1, 0.0F, bits.data(), 3, 1);
  EXPECT_EQ(bits, soft);
}

// The kernels' lines, run for every thread of a grid smaller than the array, the last thread first.
TEST(PackBitsRow, ThreadsOfAGridCoverTheArray) {
  constexpr int64_t kNumBits = 5, kNumThreads = 7;
  const LogitLayout layout = transposed_layout(kNumBits);
  const LogitLayout soft_layout = {2, 3, 5, kNumBits, 15 * kNumBits, 5 * kNumBits, kNumBits, 1};
  const auto logits = random_logits<float>(static_cast<size_t>(30 * kNumBits));
  std::vector<float> soft(logits.size());
  for (size_t i = 0; i < soft.size(); ++i) soft[i] = static_cast<float>(i) / 150;
  std::vector<uint8_t> expected_symbols(30), symbols(30, 255);
  std::vector<float> expected_bits(logits.size()), bits(logits.size(), -1), blended(logits.size(), -1);
  pack_bits(logits.data(), layout, expected_symbols.data());
  unpack_bits(expected_symbols.data(), layout, expected_bits.data());
  for (int64_t thread = kNumThreads - 1; thread >= 0; --thread) {
    pack_rows(thread, kNumThreads, logits.data(), layout, symbols.data());
  }
  EXPECT_EQ(symbols, expected_symbols);
  for (int64_t thread = kNumThreads - 1; thread >= 0; --thread) {
    unpack_rows(thread, kNumThreads, symbols.data(), layout, bits.data());
    blend_rows(thread, kNumThreads, symbols.data(), soft_layout, soft.data(), 0.25F, layout, blended.data());
  }
  EXPECT_EQ(bits, expected_bits);
  for (int64_t row = 0; row < 30; ++row) {
    for (int64_t bit = 0; bit < kNumBits; ++bit) {
      const size_t to = static_cast<size_t>(row_offset(layout, row) + bit);
      const float from = soft[static_cast<size_t>(row_offset(soft_layout, row) + bit)];
      EXPECT_EQ(blended[to], (bits[to] - from) * 0.25F + from);
    }
  }
}

}  // namespace
}  // namespace rosa::kernels
