// Conversion between at::Tensor and tensors as bytes (safetensors entries, checkpoint entries).
#pragma once

#include <ATen/ATen.h>

#include <string>

#include "base/stateful.h"

namespace rosa {

// safetensors' name of a dtype ("F32", ...), and back. Both throw DataError for a dtype without a counterpart.
std::string dtype_name(at::ScalarType dtype);
at::ScalarType dtype_of_name(const std::string& name);

// A copy of any tensor (any device, any strides) as contiguous bytes.
base::StateTensor to_state(const at::Tensor& tensor);
// A new CPU tensor with a copy of the bytes. Throws DataError where dtype, shape and number of bytes disagree.
at::Tensor from_state(const base::StateTensor& state);

}  // namespace rosa
