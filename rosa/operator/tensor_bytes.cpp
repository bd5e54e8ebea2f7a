#include "rosa/operator/tensor_bytes.h"

#include <cstring>
#include <span>
#include <utility>

#include "base/error.h"

namespace rosa {
namespace {

constexpr std::pair<const char*, at::ScalarType> kDtypes[] = {
    {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf}, {"BF16", at::kBFloat16}, {"I64", at::kLong},
    {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},  {"U8", at::kByte},       {"BOOL", at::kBool},
};

at::Tensor copy_of_bytes(const std::string& dtype, const std::vector<int64_t>& shape,
                         std::span<const std::byte> bytes) {
  at::Tensor tensor = at::empty(shape, dtype_of_name(dtype));
  base::require<base::DataError>(tensor.nbytes() == bytes.size(), "tensor of dtype ", dtype, ": got ", bytes.size(),
                                 " bytes, expected ", tensor.nbytes(), " for its shape");
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

std::string dtype_name(at::ScalarType dtype) {
  for (const auto& [name, type] : kDtypes) {
    if (type == dtype) return name;
  }
  throw base::DataError(base::concat("dtype ", c10::toString(dtype), " has no safetensors name that we read or write"));
}

at::ScalarType dtype_of_name(const std::string& name) {
  for (const auto& [known, type] : kDtypes) {
    if (name == known) return type;
  }
  throw base::DataError(
      base::concat("unknown tensor dtype '", name, "', expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL"));
}

at::Tensor to_tensor(const base::TensorView& view) { return copy_of_bytes(view.dtype, view.shape, view.bytes); }

base::TensorView view_bytes(const at::Tensor& tensor) {
  base::require(tensor.is_cpu() && tensor.is_contiguous(), "view_bytes: got a tensor on ", tensor.device(),
                " with strides ", tensor.strides(), ", expected a contiguous one on the CPU");
  return {dtype_name(tensor.scalar_type()),
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()}};
}

base::StateTensor to_state(const at::Tensor& tensor) {
  const at::Tensor contiguous = tensor.detach().to(at::kCPU).contiguous();
  base::StateTensor state{dtype_name(contiguous.scalar_type()), contiguous.sizes().vec(), {}};
  state.bytes.resize(contiguous.nbytes());
  if (!state.bytes.empty()) std::memcpy(state.bytes.data(), contiguous.const_data_ptr(), state.bytes.size());
  return state;
}

at::Tensor from_state(const base::StateTensor& state) { return copy_of_bytes(state.dtype, state.shape, state.bytes); }

}  // namespace rosa
