// The blocks of sufa_blocks.h, soft_rosa_blocks.h and dense_surrogate_blocks.h as CUDA kernels; what they do is in
// those headers.
#include <cuda_runtime.h>

#include "rosa/kernels/dense_surrogate_blocks.h"
#include "rosa/kernels/proxy_kernels.h"
#include "rosa/kernels/soft_rosa_blocks.h"
#include "rosa/kernels/sufa_blocks.h"
#include "rosa/kernels/thread_block_device.h"

namespace rosa::kernels {
namespace {

template <int kMaxValueBits>
__global__ void __launch_bounds__(kBlockThreads) sufa_forward_kernel(ProxyArguments p) {
  __shared__ Tile<float> scores;
  DeviceBlock block;
  sufa_forward_block<kMaxValueBits>(block, p, scores);
}

__global__ void __launch_bounds__(kBlockThreads) sufa_backward_kernel(ProxyArguments p) {
  __shared__ Tile<float> grad_products, weights;
  DeviceBlock block;
  sufa_backward_block(block, p, grad_products, weights);
}

template <int kMaxValueBits>
__global__ void __launch_bounds__(kBlockThreads) soft_rosa_forward_kernel(ProxyArguments p) {
  __shared__ Tile<double> runs;
  DeviceBlock block;
  soft_rosa_forward_block<kMaxValueBits>(block, p, runs);
}

__global__ void __launch_bounds__(kBlockThreads) soft_rosa_backward_kernel(ProxyArguments p) {
  __shared__ Tile<float> grad_products, weights;
  DeviceBlock block;
  soft_rosa_backward_block(block, p, grad_products, weights);
}

template <int kMaxValueBits>
__global__ void __launch_bounds__(kBlockThreads) dense_surrogate_forward_kernel(ProxyArguments p) {
  __shared__ Tile<float> roots;
  DeviceBlock block;
  dense_surrogate_forward_block<kMaxValueBits>(block, p, roots);
}

__global__ void __launch_bounds__(kBlockThreads) dense_surrogate_backward_kernel(ProxyArguments p) {
  __shared__ Tile<float> grad_products, weights;
  DeviceBlock block;
  dense_surrogate_backward_block(block, p, grad_products, weights);
}

int launch(void (*kernel)(ProxyArguments), const ProxyArguments& arguments, int64_t num_blocks, DeviceStream stream) {
  if (num_blocks == 0) return cudaSuccess;
  kernel<<<static_cast<unsigned>(num_blocks), kBlockThreads, 0, static_cast<cudaStream_t>(stream)>>>(arguments);
  return cudaGetLastError();
}

}  // namespace

int launch_proxy_forward(ProxyKind kind, const ProxyArguments& arguments, int64_t num_blocks, DeviceStream stream) {
  // Up to 8 value bits the sums stay in registers.
  const bool few = arguments.value_bits <= 8;
  if (kind == ProxyKind::sufa) {
    return launch(few ? sufa_forward_kernel<8> : sufa_forward_kernel<64>, arguments, num_blocks, stream);
  }
  if (kind == ProxyKind::dense_surrogate) {
    return launch(few ? dense_surrogate_forward_kernel<8> : dense_surrogate_forward_kernel<64>, arguments, num_blocks,
                  stream);
  }
  return launch(few ? soft_rosa_forward_kernel<8> : soft_rosa_forward_kernel<64>, arguments, num_blocks, stream);
}

int launch_proxy_backward(ProxyKind kind, const ProxyArguments& arguments, int64_t num_blocks, DeviceStream stream) {
  const auto kernel = kind == ProxyKind::sufa        ? sufa_backward_kernel
                      : kind == ProxyKind::soft_rosa ? soft_rosa_backward_kernel
                                                     : dense_surrogate_backward_kernel;
  return launch(kernel, arguments, num_blocks, stream);
}

}  // namespace rosa::kernels
