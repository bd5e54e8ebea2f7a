// The form of builds with CUDA: one kernel each.
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "rosa/kernels/pack_bits_device.h"
#include "rosa/operator/device_symbols.h"
#include "rosa/operator/symbol_layout.h"

namespace rosa {
namespace {

kernels::DeviceStream current_stream(const at::Tensor& tensor) {
  return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

// Calls body(a value of the floating dtype, a value of the symbols' dtype), whose types say which kernel to take.
template <class Body>
void with_types(const at::Tensor& floating, const at::Tensor& symbols, const Body& body) {
  const bool bytes = symbols.scalar_type() == at::kByte;
  if (floating.scalar_type() == at::kDouble) {
    bytes ? body(double{}, uint8_t{}) : body(double{}, int64_t{});
  } else {
    bytes ? body(float{}, uint8_t{}) : body(float{}, int64_t{});
  }
}

}  // namespace

void pack_symbols_on_device(const at::Tensor& logits, at::Tensor& symbols) {
  const c10::cuda::CUDAGuard guard(logits.device());
  with_types(logits, symbols, [&](auto logit, auto symbol) {
    kernels::pack_bits_on_device(logits.const_data_ptr<decltype(logit)>(), layout_of(logits),
                                 symbols.mutable_data_ptr<decltype(symbol)>(), current_stream(logits));
  });
}

void unpack_symbols_on_device(const at::Tensor& symbols, at::Tensor& bits) {
  const c10::cuda::CUDAGuard guard(symbols.device());
  with_types(bits, symbols, [&](auto value, auto symbol) {
    kernels::unpack_bits_on_device(symbols.const_data_ptr<decltype(symbol)>(), layout_of(bits),
                                   bits.mutable_data_ptr<decltype(value)>(), current_stream(symbols));
  });
}

void blend_symbols_on_device(const at::Tensor& symbols, const at::Tensor& soft, double alpha, at::Tensor& bits) {
  const c10::cuda::CUDAGuard guard(symbols.device());
  with_types(bits, symbols, [&](auto value, auto symbol) {
    using Value = decltype(value);
    kernels::blend_bits_on_device(symbols.const_data_ptr<decltype(symbol)>(), layout_of(soft),
                                  soft.const_data_ptr<Value>(), static_cast<Value>(alpha), layout_of(bits),
                                  bits.mutable_data_ptr<Value>(), current_stream(symbols));
  });
}

}  // namespace rosa
