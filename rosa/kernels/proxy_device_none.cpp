// The form of builds without CUDA.
#include "rosa/kernels/device_launch.h"
#include "rosa/kernels/proxy_device.h"

namespace rosa::kernels {

void proxy_forward_on_device(ProxyKind, const ProxyArguments&, DeviceStream) {
  refuse_without_cuda("proxy_forward_on_device");
}

void proxy_backward_on_device(ProxyKind, const ProxyArguments&, DeviceStream) {
  refuse_without_cuda("proxy_backward_on_device");
}

}  // namespace rosa::kernels
