// The form of builds with CUDA.
#include "rosa/kernels/proxy_device.h"

#include "rosa/kernels/device_launch.h"
#include "rosa/kernels/proxy_grid.h"
#include "rosa/kernels/proxy_kernels.h"

namespace rosa::kernels {

void proxy_forward_on_device(ProxyKind kind, const ProxyArguments& arguments, DeviceStream stream) {
  check_launch(launch_proxy_forward(kind, arguments, proxy_forward_blocks(kind, arguments), stream), "proxy forward");
}

void proxy_backward_on_device(ProxyKind kind, const ProxyArguments& arguments, DeviceStream stream) {
  check_launch(launch_proxy_backward(kind, arguments, proxy_backward_blocks(kind, arguments), stream),
               "proxy backward");
}

}  // namespace rosa::kernels
