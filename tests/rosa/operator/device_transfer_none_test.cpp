// Only in builds without CUDA: the stub says so.
#include <gtest/gtest.h>

#include "base/error.h"
#include "rosa/operator/device_transfer.h"

namespace rosa {
namespace {

TEST(DeviceTransfer, WithoutCudaItIsADocumentedError) {
  try {
    make_device_transfer(at::Device(at::kCUDA, 0));
    FAIL() << "expected a ConfigError";
  } catch (const base::ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("ROSA_CUDA=ON"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace rosa
