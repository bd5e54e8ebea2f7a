// Device memory and a fixture for tests of CUDA kernels.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"

namespace rosa::kernels::testing {

// An array in device memory.
template <class Value>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<Value>& values) : size_(values.size()) {
    check(cudaMalloc(&data_, size_ * sizeof(Value)));
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(Value), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  Value* data() const { return static_cast<Value*>(data_); }
  std::vector<Value> to_host() const {
    std::vector<Value> values(size_);
    check(cudaMemcpy(values.data(), data_, size_ * sizeof(Value), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  static void check(cudaError_t code) {
    base::require<base::Error>(code == cudaSuccess, "CUDA: ", cudaGetErrorString(code));
  }

  size_t size_;
  void* data_ = nullptr;
};

// Skips its tests, with the reason, where there is no GPU.
class DeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int count = 0;
    const cudaError_t code = cudaGetDeviceCount(&count);
    if (code != cudaSuccess || count == 0) GTEST_SKIP() << "no GPU: " << cudaGetErrorString(code);
  }
};

}  // namespace rosa::kernels::testing
