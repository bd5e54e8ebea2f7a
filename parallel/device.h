// Which device a rank computes on: its host's CPU, or the GPU that its place among the host's ranks picks.
// Refuses two ranks on one GPU, which would make NCCL hang. Nothing else in the system looks for GPUs.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <string>

#include "parallel/communicator.h"

namespace rosa::parallel {

// The GPUs that this process sees. device_system_cuda.cpp or device_system_none.cpp; CMake picks one.
struct DeviceSystem {
  bool has_cuda = false;                        // built with CUDA
  int num_devices = 0;                          // 0 too where there is no driver
  std::function<std::string(int)> identity;     // the same text for the same GPU, whatever number a process gives it
  std::function<void(int)> make_current;        // of the calling thread
  std::function<std::string(int)> description;  // name and memory, for people
};

// What this build and this machine offer.
DeviceSystem find_device_system();

// Returns the device for `choice`: "cpu"; "cuda": GPU number local_rank modulo the number of GPUs that the process
// sees, made current; "auto": cuda where every rank sees a GPU, cpu where none does. Throws ConfigError, the same on
// every rank, where the build has no CUDA, a rank sees no GPU, or two ranks would share one.
// Collective: every rank calls it.
at::Device select_device(const std::string& choice, Communicator& communicator,
                         const DeviceSystem& system = find_device_system());

}  // namespace rosa::parallel
