#include "rosa/kernels/dense_surrogate.h"

#include <algorithm>

#include "rosa/kernels/proxy_variants.h"

namespace rosa::kernels {

int64_t dense_surrogate_workspace_bytes(const DenseSurrogateProblem& problem) {
  const int64_t distances = padded_length(std::min(problem.max_distance, problem.length));
  const int64_t pitch = problem.length + padded_length(32);
  return 2 * workspace_bytes<float>(problem.query_bits * pitch) +
         2 * workspace_bytes<float>(problem.value_bits * pitch) +
         4 * workspace_bytes<float>(kSurrogateSymbols * distances) + 2 * workspace_bytes<float>(distances);
}

void dense_surrogate_backward(const DenseSurrogateProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                              ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value,
                              std::byte* workspace) {
  chosen_proxy_variant().dense_surrogate_backward(problem, query, key, value, grad_output, grad_query, grad_key,
                                                  grad_value, workspace);
}

}  // namespace rosa::kernels
