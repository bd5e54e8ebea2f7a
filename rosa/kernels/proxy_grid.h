// How many blocks the fused proxies on a GPU take, and the workspace that follows.
#pragma once

#include "rosa/kernels/proxy_device.h"

namespace rosa::kernels {

int64_t proxy_forward_blocks(ProxyKind kind, const ProxyArguments& arguments);
int64_t proxy_backward_blocks(ProxyKind kind, const ProxyArguments& arguments);

}  // namespace rosa::kernels
