#include "rosa/kernels/sufa.h"

#include <algorithm>

#include "rosa/kernels/proxy_variants.h"

namespace rosa::kernels {

int64_t sufa_workspace_bytes(const SufaProblem& problem) {
  const int64_t block = std::min(problem.num_symbols, problem.length);
  const int64_t distances = padded_length(std::min(problem.max_distance, problem.length));
  const int64_t pitch = problem.length + 2 * block + padded_length(32);
  return 2 * workspace_bytes<float>(problem.query_bits * pitch) +
         2 * workspace_bytes<float>(problem.value_bits * pitch) + 5 * workspace_bytes<float>(block * distances) +
         3 * workspace_bytes<float>(distances) +
         workspace_bytes<float>(block * (problem.value_bits + 1) * padded_length(1));
}

void sufa_forward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                  std::byte* workspace) {
  chosen_proxy_variant().sufa_forward(problem, query, key, value, output, workspace);
}

void sufa_backward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
                   Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace) {
  chosen_proxy_variant().sufa_backward(problem, query, key, value, grad_output, grad_query, grad_key, grad_value,
                                       workspace);
}

}  // namespace rosa::kernels
