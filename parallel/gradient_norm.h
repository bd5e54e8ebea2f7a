// The norm of a flat gradient, with the same bits for any number of ranks, buckets and shards.
#pragma once

#include <ATen/ATen.h>

#include "parallel/communicator.h"
#include "parallel/flat_layout.h"

namespace rosa::parallel {

// Global L2 norm: float64 sums of squares over blocks of kNormBlock elements of each tensor, blocks summed in order,
// tensors in the order of the layout's list (which is by name), whatever their places in the buffer. `flat` is float32
// [layout.length()]. `sharded`: each rank has only its own parts, and their block sums are exchanged; then
// Collective: every rank calls it.
double gradient_norm(Communicator& communicator, const FlatLayout& layout, const at::Tensor& flat, bool sharded);

}  // namespace rosa::parallel
