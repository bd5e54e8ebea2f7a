// What LibTorch's allocator holds on a device.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>

namespace rosa::training {

// Bytes.
struct DeviceMemory {
  int64_t allocated = 0;  // in tensors now
  int64_t reserved = 0;   // taken from the device, free blocks included
  int64_t peak = 0;       // the most in tensors since the process began
};

// Nothing for the CPU, and for a device whose allocator does not count.
std::optional<DeviceMemory> device_memory(at::Device device);

}  // namespace rosa::training
