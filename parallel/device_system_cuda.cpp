// The form of builds with CUDA. Works on machines without a driver: then no GPU is seen.
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstdio>

#include "base/host_name.h"
#include "parallel/device.h"

namespace rosa::parallel {
namespace {

using base::concat;

cudaDeviceProp properties_of(int index) {
  cudaDeviceProp properties = {};
  const cudaError_t code = cudaGetDeviceProperties(&properties, index);
  base::require<base::ConfigError>(code == cudaSuccess, "cudaGetDeviceProperties failed for GPU ", index, ": ",
                                   cudaGetErrorString(code), " (code ", static_cast<int>(code), ")");
  return properties;
}

// Host and UUID: Slurm and containers may give every process its GPU as number 0.
std::string identity(int index) {
  const cudaDeviceProp properties = properties_of(index);
  std::string text = concat(base::host_name(), " GPU-");
  for (const char byte : properties.uuid.bytes) {
    std::array<char, 3> hex = {};
    std::snprintf(hex.data(), hex.size(), "%02x", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    text += hex.data();
  }
  return text;
}

std::string description(int index) {
  const cudaDeviceProp properties = properties_of(index);
  return concat(properties.name, ", ", properties.totalGlobalMem >> 20, " MiB, compute capability ", properties.major,
                ".", properties.minor);
}

}  // namespace

DeviceSystem find_device_system() {
  return {.has_cuda = true,
          .num_devices = static_cast<int>(c10::cuda::device_count()),
          .identity = identity,
          .make_current = [](int index) { c10::cuda::set_device(static_cast<c10::DeviceIndex>(index)); },
          .description = description};
}

}  // namespace rosa::parallel
