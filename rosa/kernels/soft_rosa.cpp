#include "rosa/kernels/soft_rosa.h"

#include "rosa/kernels/proxy_variants.h"

namespace rosa::kernels {

int64_t soft_rosa_workspace_bytes(const SoftRosaProblem& problem) {
  const int64_t length = problem.length, distances = padded_length(length);
  const int64_t pitch = length + kSoftRosaStrip + padded_length(16);
  return 3 * workspace_bytes<double>(distances) + 2 * workspace_bytes<double>(length) +
         workspace_bytes<double>(length * problem.query_bits) + 3 * workspace_bytes<float>(length) +
         workspace_bytes<int32_t>(length) + 2 * workspace_bytes<float>(problem.query_bits * pitch) +
         2 * workspace_bytes<float>(problem.value_bits * pitch) + 2 * workspace_bytes<float>(length * kSoftRosaStrip);
}

void soft_rosa_forward(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                       std::byte* workspace) {
  chosen_proxy_variant().soft_rosa_forward(problem, query, key, value, output, workspace);
}

void soft_rosa_backward(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                        ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace) {
  chosen_proxy_variant().soft_rosa_backward(problem, query, key, value, grad_output, grad_query, grad_key, grad_value,
                                            workspace);
}

}  // namespace rosa::kernels
