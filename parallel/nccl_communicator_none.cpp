// The form of builds without NCCL.
#include "parallel/nccl_communicator.h"

namespace rosa::parallel {

std::unique_ptr<Communicator> make_nccl_communicator(Communicator&, at::Device device) {
  throw base::ConfigError(
      base::concat("NCCL communicator: got device ", device.str(),
                   ", but this build has no NCCL; build with ROSA_CUDA=ON or set the device to cpu"));
}

std::string nccl_version() { return "none"; }

}  // namespace rosa::parallel
