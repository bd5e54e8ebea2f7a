// The form of builds without CUDA.
#include "base/error.h"
#include "rosa/operator/device_symbols.h"

namespace rosa {
namespace {

[[noreturn]] void refuse(const char* function, const at::Tensor& tensor) {
  throw base::ConfigError(base::concat(function, ": got a tensor on ", tensor.device().str(),
                                       ", but this build has no CUDA; build with ROSA_CUDA=ON or use the CPU"));
}

}  // namespace

void pack_symbols_on_device(const at::Tensor& logits, at::Tensor&) { refuse("pack_symbols", logits); }
void unpack_symbols_on_device(const at::Tensor& symbols, at::Tensor&) { refuse("unpack_symbols", symbols); }
void blend_symbols_on_device(const at::Tensor& symbols, const at::Tensor&, double, at::Tensor&) {
  refuse("blend_symbols", symbols);
}

}  // namespace rosa
