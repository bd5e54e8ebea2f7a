#include "rosa/operator/one_bit_gate.h"

#include "base/error.h"
#include "rosa/operator/symbols.h"

namespace rosa {
namespace {

// int64 [B,T,C]: the bit that follows the longest, then latest match of each channel's bits in themselves.
at::Tensor retrieved_bits(const at::Tensor& x, HostExecutor& executor) {
  const at::NoGradGuard no_grad;
  const at::Tensor symbols = pack_symbols(x.transpose(1, 2).unsqueeze(-1));  // [B,C,T], one bit each
  MatchRequest request;
  request.query_symbols = request.key_symbols = request.value_symbols = symbols;
  request.symbol_bits = request.value_bits = 1;
  const HardResult hard = executor.wait(executor.submit(std::move(request)));
  return at::where(hard.matched, hard.value_symbols.to(at::kLong), -1).transpose(1, 2).contiguous();
}

}  // namespace

OneBitGateOutput one_bit_gate(const at::Tensor& x, const at::Tensor& emb0, const at::Tensor& emb1,
                              HostExecutor& executor) {
  base::require(x.dim() == 3 && at::isFloatingType(x.scalar_type()),
                "one_bit_gate: x must be a floating point tensor of shape [batch, length, channels]");
  base::require(emb0.numel() == x.size(2) && emb1.numel() == x.size(2), "one_bit_gate: got embeddings of ",
                emb0.numel(), " and ", emb1.numel(), " elements, expected one for each of ", x.size(2), " channels");
  const at::Tensor index = retrieved_bits(x, executor);
  const at::Tensor zeros = at::zeros({}, emb0.options());
  return {index, at::where(index == 1, emb1.reshape({-1}), zeros) + at::where(index == 0, emb0.reshape({-1}), zeros)};
}

}  // namespace rosa
