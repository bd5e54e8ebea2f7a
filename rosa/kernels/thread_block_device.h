// A block of threads on the device; see thread_block.h. For .cu files only.
#pragma once

#include <cstdint>

#include "rosa/kernels/thread_block.h"

namespace rosa::kernels {

class DeviceBlock {
 public:
  template <class Value>
  class PerThread {
   public:
    __device__ Value& operator[](int) { return value_; }

   private:
    Value value_;
  };

  __device__ int64_t index() const { return blockIdx.x; }
  __device__ int64_t count() const { return gridDim.x; }

  template <class Body>
  __device__ void for_each_thread(const Body& body) {
    body(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  template <int kGroup, class Value, class Combine>
  __device__ void all_reduce(PerThread<Value>& values, const Combine& combine) {
    static_assert(kGroup <= 32, "a group lies within a warp");
    for (int distance = 1; distance < kGroup; distance *= 2) {
      values[0] = combine(values[0], __shfl_xor_sync(0xffffffffU, values[0], distance));
    }
  }

  __device__ void add(float* to, float value) { atomicAdd(to, value); }
};

}  // namespace rosa::kernels
