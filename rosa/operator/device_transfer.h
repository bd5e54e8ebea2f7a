// DeviceTransfer: moves packed symbols between a device and pinned host memory beside the device's own work.
// The seam between the host executor and CUDA: device_transfer_none.cpp or device_transfer_cuda.cpp, CMake picks one.
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <vector>

namespace rosa {

// One job's transfers. Order of calls: start_to_host, wait_for_host (workers), host_tensor / to_device.
class DeviceTransfer {
 public:
  virtual ~DeviceTransfer() = default;

  // Begins copying device tensors to pinned memory on a side stream, after what the current stream holds now. Returns
  // the host tensors at once; they must not be read before wait_for_host(). Keeps the sources alive until then.
  virtual std::vector<at::Tensor> start_to_host(const std::vector<at::Tensor>& device_tensors) = 0;
  // Blocks the calling thread (any thread, several at once) until the copies of start_to_host() have arrived.
  virtual void wait_for_host() = 0;
  // A new pinned host tensor for results.
  virtual at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) = 0;
  // Enqueues the copy of a pinned tensor to the device so that work put on the current stream afterwards sees it, and
  // returns the device tensor at once. Keeps `pinned` alive until the copy is done.
  virtual at::Tensor to_device(const at::Tensor& pinned) = 0;
};

// Throws ConfigError where this build has no support for `device`.
std::unique_ptr<DeviceTransfer> make_device_transfer(at::Device device);

}  // namespace rosa
