#include "rosa/operator/symbols.h"

#include "base/error.h"
#include "rosa/kernels/pack_bits.h"

namespace rosa {
namespace {

using base::require;

kernels::LogitLayout layout_of(const at::Tensor& logits) {
  return {logits.size(0),   logits.size(1),   logits.size(2),   logits.size(3),
          logits.stride(0), logits.stride(1), logits.stride(2), logits.stride(3)};
}

void check_bits(int64_t num_bits) {
  require(num_bits >= 1 && num_bits <= kMaxSymbolBits, "symbols: got ", num_bits, " bits, expected 1 to ",
          kMaxSymbolBits);
}

// The device form of both functions: generic tensor operations.
at::Tensor bit_weights(int64_t num_bits, at::Device device) {
  return at::bitwise_left_shift(at::ones({num_bits}, at::TensorOptions(at::kLong).device(device)),
                                at::arange(num_bits, at::TensorOptions(at::kLong).device(device)));
}

template <class Logit>
void pack_on_host(const at::Tensor& logits, at::Tensor& symbols) {
  if (symbols.scalar_type() == at::kByte) {
    kernels::pack_bits(logits.const_data_ptr<Logit>(), layout_of(logits), symbols.mutable_data_ptr<uint8_t>());
  } else {
    kernels::pack_bits(logits.const_data_ptr<Logit>(), layout_of(logits), symbols.mutable_data_ptr<int64_t>());
  }
}

template <class Value>
void unpack_on_host(const at::Tensor& symbols, at::Tensor& bits) {
  if (symbols.scalar_type() == at::kByte) {
    kernels::unpack_bits(symbols.const_data_ptr<uint8_t>(), layout_of(bits), bits.mutable_data_ptr<Value>());
  } else {
    kernels::unpack_bits(symbols.const_data_ptr<int64_t>(), layout_of(bits), bits.mutable_data_ptr<Value>());
  }
}

}  // namespace

at::Tensor pack_symbols(const at::Tensor& logits) {
  require(logits.dim() == 4 && at::isFloatingType(logits.scalar_type()), "pack_symbols: got a ", logits.dim(),
          "-dimensional tensor of ", c10::toString(logits.scalar_type()), ", expected 4 dimensions of floating point");
  const int64_t num_bits = logits.size(3);
  check_bits(num_bits);
  const at::ScalarType dtype = num_bits <= 8 ? at::kByte : at::kLong;
  if (!logits.is_cpu()) {
    return at::where(logits > 0, bit_weights(num_bits, logits.device()), 0).sum(-1).to(dtype);
  }
  at::Tensor symbols = at::empty({logits.size(0), logits.size(1), logits.size(2)}, dtype);
  if (logits.scalar_type() == at::kDouble) {
    pack_on_host<double>(logits, symbols);
  } else {
    pack_on_host<float>(logits.to(at::kFloat), symbols);
  }
  return symbols;
}

at::Tensor unpack_symbols(const at::Tensor& symbols, int64_t num_bits, at::ScalarType dtype) {
  require(symbols.dim() == 3, "unpack_symbols: got ", symbols.dim(), " dimensions, expected [B,H,T]");
  check_bits(num_bits);
  if (!symbols.is_cpu()) {
    const at::Tensor time_first = symbols.transpose(1, 2).to(at::kLong).unsqueeze(-1);
    return at::bitwise_and(time_first, bit_weights(num_bits, symbols.device())).ne(0).to(dtype).transpose(1, 2);
  }
  const at::ScalarType host_dtype = dtype == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor bits =
      at::empty({symbols.size(0), symbols.size(2), symbols.size(1), num_bits}, host_dtype).transpose(1, 2);
  const at::Tensor contiguous = symbols.contiguous();
  if (host_dtype == at::kDouble) {
    unpack_on_host<double>(contiguous, bits);
  } else {
    unpack_on_host<float>(contiguous, bits);
  }
  return bits.to(dtype);
}

}  // namespace rosa
