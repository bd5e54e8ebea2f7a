// DeviceTransfer: moves packed symbols between a device and pinned host memory beside the device's own work.
// The seam between the host executor and a device: device_transfer_none.cpp or device_transfer_cuda.cpp, CMake picks
// one; stand_in_device.h is a device on the CPU.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <vector>

namespace rosa {

// The transfers of one job at a time; kept and used again, with its staging buffer, by later ones.
// Order of calls of a job: launch, start_to_host, host_tensor; wait_for_host (workers); stall_begins, to_device,
// stall_ends, launch.
class DeviceTransfer {
 public:
  virtual ~DeviceTransfer() = default;

  // Puts tensor operations on the device's current stream. On a GPU they run here: that is what they do anyway.
  virtual void launch(const std::function<void()>& operations) { operations(); }

  // Begins a job: copies device tensors to the staging buffer on a side stream, after what the current stream holds
  // now. `result_bytes`: what host_tensor() will take (StagingBuffer::bytes_of). Returns the host tensors at once; they
  // must not be read before wait_for_host(). Keeps the sources alive until then.
  virtual std::vector<at::Tensor> start_to_host(const std::vector<at::Tensor>& device_tensors,
                                                int64_t result_bytes) = 0;
  // Blocks the calling thread (any thread, several at once) until the copies of start_to_host() have arrived.
  virtual void wait_for_host() = 0;
  // Host memory for results; must not be written before wait_for_host().
  virtual at::Tensor host_tensor(at::IntArrayRef sizes, at::ScalarType dtype) = 0;
  // Enqueues the copy of a host tensor to the device so that work put on the current stream afterwards sees it, and
  // returns the device tensor at once.
  virtual at::Tensor to_device(const at::Tensor& host) = 0;

  // Called before and after the wait for a job. The device is idle from when it has finished what its current stream
  // held at stall_begins() until it reaches the place of stall_ends() in that stream.
  virtual void stall_begins() = 0;
  virtual void stall_ends() = 0;
  // The sum of these idle times, as far as the device has got.
  virtual double stalled_ms() = 0;

  virtual int64_t staging_bytes() const = 0;
};

using MakeDeviceTransfer = std::function<std::unique_ptr<DeviceTransfer>(at::Device device)>;

// Throws ConfigError where this build has no support for `device`.
std::unique_ptr<DeviceTransfer> make_device_transfer(at::Device device);

}  // namespace rosa
