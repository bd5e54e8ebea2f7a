// Conversion between at::Tensor and tensors as bytes (safetensors entries, checkpoint entries).
#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <string>

#include "base/safetensors.h"
#include "base/stateful.h"

namespace rosa {

// safetensors' name of a dtype ("F32", ...), and back. Both throw DataError for a dtype without a counterpart.
std::string dtype_name(at::ScalarType dtype);
at::ScalarType dtype_of_name(const std::string& name);

// A new CPU tensor with a copy of the bytes. Throws DataError where dtype, shape and number of bytes disagree.
at::Tensor to_tensor(const base::TensorView& view);
// A CPU tensor on the very bytes, which `owner` keeps alive as long as the tensor has a storage. Nothing may write to
// it: mapped files are read-only memory. Throws as to_tensor does, and ArgumentError unless is_aligned(view).
at::Tensor tensor_on_bytes(const base::TensorView& view, std::shared_ptr<const void> owner);
// Whether the bytes lie where elements of their dtype may: safetensors promises nothing.
bool is_aligned(const base::TensorView& view);
// The bytes of a contiguous CPU tensor, which must outlive the view. Throws ArgumentError for any other tensor.
base::TensorView view_bytes(const at::Tensor& tensor);

// A copy of any tensor (any device, any strides) as contiguous bytes.
base::StateTensor to_state(const at::Tensor& tensor);
// As to_tensor.
at::Tensor from_state(const base::StateTensor& state);

}  // namespace rosa
