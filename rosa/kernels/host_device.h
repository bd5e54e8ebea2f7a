// Marks functions that the CPU code and the CUDA kernels share, so that the CPU tests run the very same lines.
#pragma once

#if defined(__CUDACC__)
#define ROSA_HOST_DEVICE __host__ __device__ inline
#else
#define ROSA_HOST_DEVICE inline
#endif
