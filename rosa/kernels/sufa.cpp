#include "rosa/kernels/sufa.h"

#include <algorithm>

#include "rosa/kernels/sufa_variants.h"

namespace rosa::kernels {
namespace {

constexpr int64_t kMaxLanes = 16;

int64_t round_up(int64_t size) { return (size + kMaxLanes - 1) / kMaxLanes * kMaxLanes; }

const SufaVariant& chosen_variant() {
  static const SufaVariant variant = sufa_variants().variants[0];
  return variant;
}

}  // namespace

int64_t padded_length(int64_t length) { return round_up(length); }

int64_t sufa_workspace_size(const SufaProblem& problem) {
  const int64_t block = std::min(problem.num_symbols, problem.length);
  const int64_t distances = round_up(std::min(problem.max_distance, problem.length));
  const int64_t pitch = problem.length + 2 * block + 2 * kMaxLanes;
  return 2 * (problem.query_bits + problem.value_bits) * pitch + (5 * block + 3) * distances;
}

void sufa_forward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                  float* workspace) {
  chosen_variant().forward(problem, query, key, value, output, workspace);
}

void sufa_backward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
                   Rows grad_query, Rows grad_key, Rows grad_value, float* workspace) {
  chosen_variant().backward(problem, query, key, value, grad_output, grad_query, grad_key, grad_value, workspace);
}

const char* sufa_instruction_set() { return chosen_variant().name; }

}  // namespace rosa::kernels
