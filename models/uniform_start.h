// Where trained weights start: uniform numbers.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "base/random.h"

namespace rosa::models {

// float32 of this shape, uniform in +-1/sqrt(num_inputs). Element i is that of `key` at position key.position + i,
// whatever the number of threads.
at::Tensor uniform_start(at::IntArrayRef shape, int64_t num_inputs, const base::RandomKey& key);

}  // namespace rosa::models
