// Builds without CUDA say so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "rosa/operator/fused_device.h"

namespace rosa {
namespace {

TEST(FusedDevice, WithoutCudaItIsADocumentedError) {
  const ProxyLauncher launcher = device_launcher(at::kCPU);
  for (const auto& launch : {launcher.forward, launcher.backward}) {
    try {
      launch(kernels::ProxyKind::soft_rosa, {});
      FAIL() << "expected an error";
    } catch (const base::ConfigError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("build with ROSA_CUDA=ON"));
    }
  }
}

}  // namespace
}  // namespace rosa
