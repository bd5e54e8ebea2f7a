#include "rosa/operator/document_runs.h"

#include "base/error.h"

namespace rosa {

std::vector<std::pair<int64_t, int64_t>> document_runs(const at::Tensor& documents, int64_t row, int64_t length) {
  if (!documents.defined()) return {{0, length}};
  const at::Tensor host = documents.select(0, row).to(at::kCPU).contiguous();
  const int64_t* numbers = host.const_data_ptr<int64_t>();
  std::vector<std::pair<int64_t, int64_t>> runs;
  int64_t begin = 0;
  for (int64_t t = 1; t <= length; ++t) {
    if (t < length && numbers[t] == numbers[t - 1]) continue;
    base::require(t == length || numbers[t] > numbers[t - 1], "documents: the number decreases at position ", t,
                  " of row ", row, ", expected non-decreasing numbers");
    runs.emplace_back(begin, t);
    begin = t;
  }
  return runs;
}

}  // namespace rosa
