// Marks functions that the CPU code and the CUDA kernels share, so that the CPU tests run the very same lines.
#pragma once

// ROSA_BLOCK_CODE: what a whole block of threads does (thread_block.h). Compiled by nvcc for the device only, and by
// the host compiler for the tests.
#if defined(__CUDACC__)
#define ROSA_HOST_DEVICE __host__ __device__ inline
#define ROSA_BLOCK_CODE __device__ inline
#else
#define ROSA_HOST_DEVICE inline
#define ROSA_BLOCK_CODE inline
#endif
