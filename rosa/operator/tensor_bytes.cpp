#include "rosa/operator/tensor_bytes.h"

#include <cstdint>
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

void check_size(const std::string& dtype, size_t expected, size_t got) {
  base::require<base::DataError>(expected == got, "tensor of dtype ", dtype, ": got ", got, " bytes, expected ",
                                 expected, " for its shape");
}

at::Tensor copy_of_bytes(const std::string& dtype, const std::vector<int64_t>& shape,
                         std::span<const std::byte> bytes) {
  at::Tensor tensor = at::empty(shape, dtype_of_name(dtype));
  check_size(dtype, tensor.nbytes(), bytes.size());
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

at::Tensor tensor_on_bytes(const base::TensorView& view, std::shared_ptr<const void> owner) {
  base::require(is_aligned(view), "tensor_on_bytes: the bytes are not aligned to their dtype ", view.dtype);
  const at::ScalarType dtype = dtype_of_name(view.dtype);
  check_size(view.dtype, static_cast<size_t>(c10::multiply_integers(view.shape)) * c10::elementSize(dtype),
             view.bytes.size());
  return at::from_blob(
      const_cast<std::byte*>(view.bytes.data()), view.shape, [owner = std::move(owner)](void*) {}, dtype);
}

bool is_aligned(const base::TensorView& view) {
  const auto address = reinterpret_cast<uintptr_t>(view.bytes.data());
  return address % c10::elementSize(dtype_of_name(view.dtype)) == 0;
}

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
