// StandInDevice: a device on the CPU, behind the same seam as CUDA's transfers, so that overlap can be tested and
// measured where there is no GPU. Its tensors are CPU tensors, valid in the order of its streams.
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <memory>

#include "base/work_stream.h"
#include "rosa/operator/device_transfer.h"

namespace rosa {

class StandInDevice {
 public:
  struct Speed {
    double bytes_per_second = std::numeric_limits<double>::infinity();  // of copies to and from the host
    std::chrono::nanoseconds copy_latency{0};
  };

  explicit StandInDevice(Speed speed);
  StandInDevice() : StandInDevice(Speed{}) {}
  ~StandInDevice();

  // What the framework's current stream is on a GPU: put there what computes; see base::WorkStream::launch.
  base::WorkStream& stream();

  // For HostExecutor's constructor: its requests' tensors are then the device's. The device outlives the executor.
  MakeDeviceTransfer transfers();

 private:
  class Transfer;
  struct Stream;

  std::shared_ptr<Stream> stream_;
};

}  // namespace rosa
