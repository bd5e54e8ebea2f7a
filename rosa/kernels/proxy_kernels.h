// The launches that proxy_kernels.cu gives to proxy_device.cpp. Each returns a cudaError_t as a number.
#pragma once

#include "rosa/kernels/proxy_device.h"

namespace rosa::kernels {

int launch_proxy_forward(ProxyKind kind, const ProxyArguments& arguments, int64_t num_blocks, DeviceStream stream);
int launch_proxy_backward(ProxyKind kind, const ProxyArguments& arguments, int64_t num_blocks, DeviceStream stream);

}  // namespace rosa::kernels
