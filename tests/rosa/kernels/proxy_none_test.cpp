// Builds without CUDA say so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "rosa/kernels/proxy_device.h"

namespace rosa::kernels {
namespace {

TEST(ProxyOnDevice, NoCudaIsAnError) {
  for (const auto launch : {proxy_forward_on_device, proxy_backward_on_device}) {
    try {
      launch(ProxyKind::sufa, ProxyArguments{}, nullptr);
      FAIL() << "expected an error";
    } catch (const base::ConfigError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("build with ROSA_CUDA=ON"));
    }
  }
}

}  // namespace
}  // namespace rosa::kernels
