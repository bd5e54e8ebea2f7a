// Small helpers over the tensor lists of all_gather and all_to_all.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace rosa::parallel {

// The tensors without their autograd history.
inline std::vector<at::Tensor> detached(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> result;
  result.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.detach());
  return result;
}

// The number of elements of each.
inline std::vector<int64_t> counts(const std::vector<at::Tensor>& tensors) {
  std::vector<int64_t> result;
  result.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.numel());
  return result;
}

// The tensors of both lists.
inline std::vector<at::Tensor> joined(std::vector<at::Tensor> tensors, const std::vector<at::Tensor>& more) {
  tensors.insert(tensors.end(), more.begin(), more.end());
  return tensors;
}

}  // namespace rosa::parallel
