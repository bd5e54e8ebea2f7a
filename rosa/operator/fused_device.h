// The proxies through the CUDA kernels (rosa/kernels/proxy_device.h): for float32 and below on a GPU, without a general
// mask. Memory O(T) a head. Prepares what the kernels take; who launches them is passed in.
#pragma once

#include <ATen/ATen.h>

#include <array>
#include <functional>

#include "rosa/kernels/proxy_device.h"
#include "rosa/operator/proxies.h"

namespace rosa {

// Runs a kernel on the arrays of the arguments, in order with what ATen does on them.
struct ProxyLauncher {
  std::function<void(kernels::ProxyKind, const kernels::ProxyArguments&)> forward, backward;
};

// On the current stream of `device`. fused_device_cuda.cpp or fused_device_none.cpp, whose launcher throws ConfigError;
// CMake picks one.
ProxyLauncher device_launcher(at::Device device);

// Whether proxy_forward and proxy_backward take the two functions below.
bool can_fuse_on_device(Proxy proxy, const OperatorInput& input, const OperatorOptions& options);

// As proxy_forward and proxy_backward, on the device of the input. Queues work and returns, but for documents on the
// device, which are read on the host first. The gradients' sums are added in no fixed order.
at::Tensor device_fused_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                const ProxyLauncher& launcher);
std::array<at::Tensor, 3> device_fused_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                                const at::Tensor& grad_output, const std::array<bool, 3>& needed,
                                                const ProxyLauncher& launcher);

}  // namespace rosa
