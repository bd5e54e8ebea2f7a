// The form of builds with CUDA.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "rosa/operator/fused_device.h"

namespace rosa {

ProxyLauncher device_launcher(at::Device device) {
  const auto launch = [device](auto function) {
    return [device, function](kernels::ProxyKind kind, const kernels::ProxyArguments& arguments) {
      const c10::cuda::CUDAGuard guard(device);
      function(kind, arguments, c10::cuda::getCurrentCUDAStream(device.index()).stream());
    };
  };
  return {launch(kernels::proxy_forward_on_device), launch(kernels::proxy_backward_on_device)};
}

}  // namespace rosa
