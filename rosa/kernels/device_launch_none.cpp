// The form of builds without CUDA.
#include "base/error.h"
#include "rosa/kernels/device_launch.h"

namespace rosa::kernels {

void refuse_without_cuda(const char* function) {
  throw base::ConfigError(base::concat(function, ": this build has no CUDA; build with ROSA_CUDA=ON or use the CPU"));
}

}  // namespace rosa::kernels
