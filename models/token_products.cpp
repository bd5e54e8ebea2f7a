#include "models/token_products.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace rosa::models {

void multiply(const float* input, int64_t num_inputs, std::span<const Product> products) {
  int64_t num_rows = 0;
  for (const Product& product : products) num_rows += product.matrix->size(0);
  const int64_t num_columns = products[0].matrix->size(1);
  const int64_t grain = std::max<int64_t>(8, kMinShare / (num_inputs * num_columns));
  at::parallel_for(0, num_rows, grain, [&](int64_t begin, int64_t end) {
    for (const Product& product : products) {
      const int64_t size = product.matrix->size(0);
      const int64_t first = std::max<int64_t>(begin, 0), last = std::min(end, size);
      const kernels::MatrixRows matrix{product.matrix->const_data_ptr(), row_type(*product.matrix), num_columns};
      const int64_t stride = product.stride > 0 ? product.stride : size;
      if (first < last) kernels::token_rows().products(input, num_inputs, matrix, first, last, product.output, stride);
      begin -= size;
      end -= size;
    }
  });
}

}  // namespace rosa::models
