// The 1-bit gate of FastRosa: every channel of x is a string of bits and retrieves one of two embeddings.
#pragma once

#include <ATen/ATen.h>

#include "rosa/operator/host_executor.h"

namespace rosa {

struct OneBitGateOutput {
  at::Tensor index;   // int64 [B,T,C]: the retrieved bit, -1 where nothing matched
  at::Tensor output;  // [B,T,C]: 0, emb0 or emb1 of the channel
};

// x [B,T,C] floating point, read as bits [x > 0]; emb0, emb1: C elements, [C] or [1,1,C]. Gradients of emb0 and emb1
// flow through the output (sums over the positions that retrieved them); x gets none here: that is an estimator's work.
// Throws ArgumentError where the shapes don't fit.
OneBitGateOutput one_bit_gate(const at::Tensor& x, const at::Tensor& emb0, const at::Tensor& emb1,
                              HostExecutor& executor);

}  // namespace rosa
