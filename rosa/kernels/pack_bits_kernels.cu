// One thread a row, or several where the grid is too small; the threads' bodies are those of the CPU (pack_bits_row.h).
#include <cuda_runtime.h>

#include "rosa/kernels/pack_bits_kernels.h"
#include "rosa/kernels/pack_bits_row.h"

namespace rosa::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;  // further rows are reached by the grid's stride

__device__ int64_t first_row() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ int64_t row_step() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

template <class Logit, class Symbol>
__global__ void pack_kernel(const Logit* logits, LogitLayout layout, Symbol* symbols) {
  pack_rows(first_row(), row_step(), logits, layout, symbols);
}

template <class Symbol, class Value>
__global__ void unpack_kernel(const Symbol* symbols, LogitLayout layout, Value* bits) {
  unpack_rows(first_row(), row_step(), symbols, layout, bits);
}

template <class Symbol, class Value>
__global__ void blend_kernel(const Symbol* symbols, LogitLayout soft_layout, const Value* soft, Value alpha,
                             LogitLayout layout, Value* bits) {
  blend_rows(first_row(), row_step(), symbols, soft_layout, soft, alpha, layout, bits);
}

unsigned num_blocks(const LogitLayout& layout) {
  const int64_t blocks = (num_rows(layout) + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

}  // namespace

template <class Logit, class Symbol>
int launch_pack_bits(const Logit* logits, const LogitLayout& layout, Symbol* symbols, DeviceStream stream) {
  if (num_rows(layout) == 0) return cudaSuccess;
  pack_kernel<<<num_blocks(layout), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(logits, layout, symbols);
  return cudaGetLastError();
}

template <class Symbol, class Value>
int launch_unpack_bits(const Symbol* symbols, const LogitLayout& layout, Value* bits, DeviceStream stream) {
  if (num_rows(layout) == 0) return cudaSuccess;
  unpack_kernel<<<num_blocks(layout), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(symbols, layout, bits);
  return cudaGetLastError();
}

template <class Symbol, class Value>
int launch_blend_bits(const Symbol* symbols, const LogitLayout& soft_layout, const Value* soft, Value alpha,
                      const LogitLayout& layout, Value* bits, DeviceStream stream) {
  if (num_rows(layout) == 0) return cudaSuccess;
  blend_kernel<<<num_blocks(layout), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(symbols, soft_layout, soft,
                                                                                       alpha, layout, bits);
  return cudaGetLastError();
}

const char* device_error_text(int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); }

template int launch_pack_bits(const float*, const LogitLayout&, uint8_t*, DeviceStream);
template int launch_pack_bits(const float*, const LogitLayout&, int64_t*, DeviceStream);
template int launch_pack_bits(const double*, const LogitLayout&, uint8_t*, DeviceStream);
template int launch_pack_bits(const double*, const LogitLayout&, int64_t*, DeviceStream);
template int launch_unpack_bits(const uint8_t*, const LogitLayout&, float*, DeviceStream);
template int launch_unpack_bits(const uint8_t*, const LogitLayout&, double*, DeviceStream);
template int launch_unpack_bits(const int64_t*, const LogitLayout&, float*, DeviceStream);
template int launch_unpack_bits(const int64_t*, const LogitLayout&, double*, DeviceStream);
template int launch_blend_bits(const uint8_t*, const LogitLayout&, const float*, float, const LogitLayout&, float*,
                               DeviceStream);
template int launch_blend_bits(const uint8_t*, const LogitLayout&, const double*, double, const LogitLayout&, double*,
                               DeviceStream);
template int launch_blend_bits(const int64_t*, const LogitLayout&, const float*, float, const LogitLayout&, float*,
                               DeviceStream);
template int launch_blend_bits(const int64_t*, const LogitLayout&, const double*, double, const LogitLayout&, double*,
                               DeviceStream);

}  // namespace rosa::kernels
