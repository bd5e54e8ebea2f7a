// The form of builds without CUDA.
#include "base/error.h"
#include "rosa/operator/device_transfer.h"

namespace rosa {

std::unique_ptr<DeviceTransfer> make_device_transfer(at::Device device) {
  throw base::ConfigError(base::concat("host executor: got symbols on ", device.str(),
                                       ", but this build has no CUDA; build with ROSA_CUDA=ON or use the CPU"));
}

}  // namespace rosa
