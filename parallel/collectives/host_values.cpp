// Small host values and texts: tensors in host memory, through the other collectives.
#include <algorithm>
#include <cstring>

#include "parallel/communicator.h"

namespace rosa::parallel {
namespace {

template <class Number>
std::vector<Number> reduce_numbers(Communicator& communicator, const std::vector<Number>& values, Reduction reduction,
                                   at::ScalarType type) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, type);
  std::copy(values.begin(), values.end(), tensor.data_ptr<Number>());
  communicator.all_reduce(tensor, reduction);
  const Number* data = tensor.data_ptr<Number>();
  return std::vector<Number>(data, data + values.size());
}

at::Tensor bytes_of(const std::string& text) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(text.size())}, at::kByte);
  if (!text.empty()) std::memcpy(tensor.data_ptr(), text.data(), text.size());
  return tensor;
}

std::string text_of(const at::Tensor& bytes) {
  if (bytes.numel() == 0) return {};
  return std::string(static_cast<const char*>(bytes.data_ptr()), static_cast<size_t>(bytes.numel()));
}

}  // namespace

std::vector<double> Communicator::all_reduce_values(const std::vector<double>& values, Reduction reduction) {
  return reduce_numbers(*this, values, reduction, at::kDouble);
}

std::vector<int64_t> Communicator::all_reduce_values(const std::vector<int64_t>& values, Reduction reduction) {
  return reduce_numbers(*this, values, reduction, at::kLong);
}

std::vector<std::string> Communicator::all_gather_text(const std::string& text) {
  const at::Tensor mine = bytes_of(text);
  std::vector<at::Tensor> receives;
  for (const at::Tensor& length : all_gather(at::full({1}, mine.numel(), at::kLong))) {
    receives.push_back(at::empty({length.item<int64_t>()}, at::kByte));
  }
  all_gather(mine, receives);
  std::vector<std::string> texts;
  for (const at::Tensor& bytes : receives) texts.push_back(text_of(bytes));
  return texts;
}

std::string Communicator::broadcast_text(const std::string& text, int root) {
  const at::Tensor length = at::full({1}, static_cast<int64_t>(text.size()), at::kLong);
  broadcast(length, root);
  const at::Tensor bytes = rank() == root ? bytes_of(text) : at::empty({length.item<int64_t>()}, at::kByte);
  broadcast(bytes, root);
  return text_of(bytes);
}

}  // namespace rosa::parallel
