// pack_symbols, unpack_symbols and blend_symbols (symbols.h) for tensors on a GPU, on the current stream.
// device_symbols_cuda.cpp or device_symbols_none.cpp, which throws ConfigError; CMake picks one.
#pragma once

#include <ATen/ATen.h>

namespace rosa {

// logits [..3 dims.., D] float32 or float64, any strides -> symbols [..3 dims..], contiguous, uint8 or int64.
void pack_symbols_on_device(const at::Tensor& logits, at::Tensor& symbols);
// symbols [..3 dims..], contiguous -> bits [..3 dims.., D] float32 or float64, any strides.
void unpack_symbols_on_device(const at::Tensor& symbols, at::Tensor& bits);
// As above, bits = soft + alpha (bits of the symbols - soft); `soft` has the shape and dtype of `bits`.
void blend_symbols_on_device(const at::Tensor& symbols, const at::Tensor& soft, double alpha, at::Tensor& bits);

}  // namespace rosa
