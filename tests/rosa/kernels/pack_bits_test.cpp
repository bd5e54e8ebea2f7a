#include "rosa/kernels/pack_bits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace rosa::kernels {
namespace {

TEST(PackBits, ZeroAndNanAreBitZero) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> logits{1.0F, 0.0F, -0.0F, nan, infinity, -infinity, 1e-45F, -1.0F};
  const LogitLayout layout{1, 1, 1, 8, 8, 8, 8, 1};
  uint8_t symbol = 0;
  pack_bits(logits.data(), layout, &symbol);
  EXPECT_EQ(symbol, 0b01010001);
}

TEST(PackBits, UpToSixtyThreeBitsAndStrides) {
  std::mt19937_64 random(1);
  for (const int64_t bits : {1, 7, 8, 9, 32, 63}) {
    // [outer 2][middle 3][inner 4][bits] seen through a layout that stores middle after inner.
    std::vector<double> logits(2 * 4 * 3 * bits);
    for (double& logit : logits) logit = static_cast<double>(random() % 3) - 1;
    const LogitLayout layout{2, 3, 4, bits, 12 * bits, bits, 3 * bits, 1};
    std::vector<int64_t> symbols(24);
    pack_bits(logits.data(), layout, symbols.data());
    std::vector<double> unpacked(logits.size());
    unpack_bits(symbols.data(), layout, unpacked.data());
    for (size_t i = 0; i < logits.size(); ++i) EXPECT_EQ(unpacked[i], logits[i] > 0 ? 1.0 : 0.0) << bits << " " << i;
    EXPECT_EQ(symbols[4] & 1, logits[bits] > 0);  // outer 0, middle 1, inner 0
  }
}

}  // namespace
}  // namespace rosa::kernels
