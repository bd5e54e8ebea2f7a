// How the kernels see a 4-dimensional tensor whose last dimension are the bits.
#pragma once

#include <ATen/ATen.h>

#include "rosa/kernels/pack_bits.h"

namespace rosa {

inline kernels::LogitLayout layout_of(const at::Tensor& logits) {
  return {logits.size(0),   logits.size(1),   logits.size(2),   logits.size(3),
          logits.stride(0), logits.stride(1), logits.stride(2), logits.stride(3)};
}

}  // namespace rosa
