// document_runs: where the documents of a packed sequence begin and end.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace rosa {

// The [begin, end) of each document of batch row `row`, in order, covering [0, length). `documents`: undefined (one
// document) or int64 [B,T]; throws ArgumentError where the numbers decrease.
std::vector<std::pair<int64_t, int64_t>> document_runs(const at::Tensor& documents, int64_t row, int64_t length);

}  // namespace rosa
