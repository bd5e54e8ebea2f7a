// A device type of LibTorch ("fakegpu:0" ...) whose memory, streams and events are those of the made-up CUDA runtime,
// so that code on c10's device-generic streams runs over it as over LibTorch's own CUDA device. Copies to the device
// are tasks of the current stream, late like all others; copies to the host wait for it; everything else is computed on
// the host between two copies. Linking this file is enough: it registers itself.
#pragma once

#include <ATen/ATen.h>
#include <cuda_runtime.h>

namespace fake_gpu {

// Device number `index`.
at::Device device(int index);

// The CUDA stream on which this thread computes on the current device.
cudaStream_t current_stream();

}  // namespace fake_gpu
