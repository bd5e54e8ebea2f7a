// Builds without CUDA say so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "rosa/kernels/pack_bits_device.h"

namespace rosa::kernels {
namespace {

TEST(PackBitsOnDevice, NoCudaIsAnError) {
  const float logit = 1;
  uint8_t symbol = 0;
  try {
    pack_bits_on_device(&logit, LogitLayout{}, &symbol, nullptr);
    FAIL() << "expected an error";
  } catch (const base::ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("build with ROSA_CUDA=ON"));
  }
}

}  // namespace
}  // namespace rosa::kernels
