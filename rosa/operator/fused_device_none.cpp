// The form of builds without CUDA: the kernels' stubs throw.
#include "rosa/operator/fused_device.h"

namespace rosa {

ProxyLauncher device_launcher(at::Device) {
  const auto launch = [](auto function) {
    return [function](kernels::ProxyKind kind, const kernels::ProxyArguments& arguments) {
      function(kind, arguments, nullptr);
    };
  };
  return {launch(kernels::proxy_forward_on_device), launch(kernels::proxy_backward_on_device)};
}

}  // namespace rosa
