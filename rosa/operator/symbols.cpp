#include "rosa/operator/symbols.h"

#include "base/error.h"
#include "rosa/kernels/pack_bits.h"
#include "rosa/operator/device_symbols.h"
#include "rosa/operator/symbol_layout.h"

namespace rosa {
namespace {

using base::require;

void check_bits(int64_t num_bits) {
  require(num_bits >= 1 && num_bits <= kMaxSymbolBits, "symbols: got ", num_bits, " bits, expected 1 to ",
          kMaxSymbolBits);
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
  at::Tensor symbols = at::empty({logits.size(0), logits.size(1), logits.size(2)}, logits.options().dtype(dtype));
  if (!logits.is_cpu()) {
    pack_symbols_on_device(logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat), symbols);
    return symbols;
  }
  if (logits.scalar_type() == at::kDouble) {
    pack_on_host<double>(logits, symbols);
  } else {
    pack_on_host<float>(logits.to(at::kFloat), symbols);
  }
  return symbols;
}

namespace {

// [B,H,T,num_bits] beside symbols [B,H,T], a transposed view of a contiguous [B,T,H,num_bits].
at::Tensor empty_bits(const at::Tensor& symbols, int64_t num_bits, at::ScalarType dtype) {
  return at::empty({symbols.size(0), symbols.size(2), symbols.size(1), num_bits}, symbols.options().dtype(dtype))
      .transpose(1, 2);
}

}  // namespace

at::Tensor unpack_symbols(const at::Tensor& symbols, int64_t num_bits, at::ScalarType dtype) {
  require(symbols.dim() == 3, "unpack_symbols: got ", symbols.dim(), " dimensions, expected [B,H,T]");
  check_bits(num_bits);
  const at::ScalarType computed_dtype = dtype == at::kDouble ? at::kDouble : at::kFloat;
  at::Tensor bits = empty_bits(symbols, num_bits, computed_dtype);
  const at::Tensor contiguous = symbols.contiguous();
  if (!symbols.is_cpu()) {
    unpack_symbols_on_device(contiguous, bits);
  } else if (computed_dtype == at::kDouble) {
    unpack_on_host<double>(contiguous, bits);
  } else {
    unpack_on_host<float>(contiguous, bits);
  }
  return bits.to(dtype);
}

at::Tensor blend_symbols(const at::Tensor& symbols, const at::Tensor& soft, double alpha) {
  const at::ScalarType dtype = soft.scalar_type();
  require(soft.dim() == 4 && (dtype == at::kFloat || dtype == at::kDouble), "blend_symbols: got soft of ", soft.dim(),
          " dimensions and ", c10::toString(dtype), ", expected float32 or float64 [B,H,T,M]");
  if (symbols.is_cpu()) return unpack_symbols(symbols, soft.size(3), dtype).sub_(soft).mul_(alpha).add_(soft);
  check_bits(soft.size(3));
  at::Tensor bits = empty_bits(symbols, soft.size(3), dtype);
  blend_symbols_on_device(symbols.contiguous(), soft, alpha, bits);
  return bits;
}

}  // namespace rosa
