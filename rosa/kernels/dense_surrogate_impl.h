// The arithmetic of dense_surrogate.h, on proxy_simd.h.
//
// With delta = t - a, S runs along diagonals: S_t is the map x -> m_t (1 + x) of the rows t-31 ... t, one after the
// other, applied to 0. Rows are taken in blocks of 32: the maps of t's block up to t make one map, prefix + product x,
// and x is what the last rows of the block before give (their suffix). Every term is positive and nothing is subtracted
// or divided. The blocks go from the last to the first, the gradient of the suffixes from each to the one before.
#pragma once

#include <cstdint>

#include "rosa/kernels/dense_surrogate.h"
#include "rosa/kernels/proxy_simd.h"

namespace rosa::kernels::ROSA_KERNEL_NAMESPACE {

struct SurrogateArrays {
  SurrogateArrays(const DenseSurrogateProblem& problem, std::byte* workspace)
      : length(problem.length),
        distances(num_vecs(smaller(problem.max_distance, problem.length)) * kLanes),
        pitch(problem.length + 2 * kLanes) {
    keys = take<float>(workspace, problem.query_bits * pitch);
    grad_keys = take<float>(workspace, problem.query_bits * pitch);
    values = take<float>(workspace, problem.value_bits * pitch);
    grad_values = take<float>(workspace, problem.value_bits * pitch);
    matches = take<float>(workspace, kSurrogateSymbols * distances);
    matches_before = take<float>(workspace, kSurrogateSymbols * distances);
    cells = take<float>(workspace, kSurrogateSymbols * distances);
    grad_suffixes = take<float>(workspace, kSurrogateSymbols * distances);
    weights = take<float>(workspace, distances);
    grad_weights = take<float>(workspace, distances);
  }

  int64_t length, distances;
  int64_t pitch;                                   // of the reversed arrays
  float *keys, *grad_keys, *values, *grad_values;  // [bit][pitch], reversed in time
  float *matches, *matches_before;                 // m of a block and of the one before: [32][distances]
  float* cells;                                    // of a block: S, then the gradient of S, then that of <query, key>
  float* grad_suffixes;                            // row r: of the suffix that begins at row r of the block
  float *weights, *grad_weights;                   // one row
};

// m of the rows begin ... begin + 31, 0 where there is no cell; `count` vectors a row.
template <int kBits>
ROSA_INLINE void match_rows(const DenseSurrogateProblem& problem, const SurrogateArrays& arrays, const float* query,
                            int64_t row_stride, int64_t begin, int64_t count, float* matches) {
  const int64_t bits = kBits > 0 ? kBits : problem.query_bits;
  const float scale = static_cast<float>(kMismatchScale / 2) / static_cast<float>(bits);
  for (int64_t r = 0; r < kSurrogateSymbols; ++r, matches += arrays.distances) {
    const int64_t t = begin + r;
    const int64_t filled = t < arrays.length ? smaller(num_vecs(t), count) : 0;
    const float* row = query + t * row_stride;
    const float* shifted = arrays.keys + arrays.length - t;
    for (int64_t e = 0; e < filled; ++e) {
      Vec agreement = Vec{} - static_cast<float>(bits);  // of signs: exact
      for (int64_t bit = 0; bit < bits; ++bit) agreement += row[bit] * load(shifted + bit * arrays.pitch + e * kLanes);
      Vec match = exp_of(agreement * scale);
      if ((e + 1) * kLanes > t) match = lanes_below(t - e * kLanes) ? match : Vec{};
      store(matches + e * kLanes, match);
    }
    zero(matches + filled * kLanes, (count - filled) * kLanes);
  }
}

// suffixes[r]: what the rows r+1 ... 31 of the block before give, `before` being their m; nullptr: no such block.
ROSA_INLINE void suffixes_of(const float* before, int64_t distances, Vec* suffixes) {
  Vec product = Vec{} + 1.0F, sum = Vec{};
  suffixes[kSurrogateSymbols - 1] = sum;
  for (int64_t r = kSurrogateSymbols - 1; r > 0; --r) {
    if (before != nullptr) product *= load(before + r * distances);
    if (before != nullptr) sum += product;
    suffixes[r - 1] = sum;
  }
}

// Fills cells with S for all rows of a block, and `best` with the largest of each row.
ROSA_INLINE void find_runs(const SurrogateArrays& arrays, bool has_before, int64_t count, Vec* best) {
  for (int64_t r = 0; r < kSurrogateSymbols; ++r) best[r] = Vec{};
  for (int64_t e = 0; e < count; ++e) {
    Vec suffixes[kSurrogateSymbols];
    suffixes_of(has_before ? arrays.matches_before + e * kLanes : nullptr, arrays.distances, suffixes);
    Vec product = Vec{} + 1.0F, prefix = Vec{};
    for (int64_t r = 0; r < kSurrogateSymbols; ++r) {
      const int64_t at = r * arrays.distances + e * kLanes;
      const Vec match = load(arrays.matches + at);
      product *= match;
      prefix = match * prefix + match;
      const Vec run = prefix + product * suffixes[r];
      best[r] = best[r] > run ? best[r] : run;
      store(arrays.cells + at, run);
    }
  }
}

// Row t: from S to its gradients, and what the row gives to grad_values. `visible`: its routes.
template <int kValueBits>
ROSA_INLINE void softmax_of_row(const DenseSurrogateProblem& problem, const SurrogateArrays& arrays, int64_t t,
                                int64_t visible, float best_run, const float* upstream, int64_t count, bool want_values,
                                float* cells) {
  const int64_t bits = kValueBits > 0 ? kValueBits : problem.value_bits;
  const float best_root = __builtin_sqrtf(1 + best_run);
  const auto root_scale = static_cast<float>(kUtilityScale) * problem.scale;
  // Logits less that of the best route, and all less `shift` where the null route's is larger still.
  const float null_logit = static_cast<float>(kNullUtility) * problem.scale - root_scale * (best_root - 1);
  const float shift = null_logit > 0 ? null_logit : 0.0F;
  const int64_t filled = num_vecs(visible);
  const float* values = arrays.values + arrays.length - 1 - t;
  float* grad_values = arrays.grad_values + arrays.length - 1 - t;
  // Gradients of the weights are taken less that of the first route, so that equal ones cancel exactly.
  float of_first = 0;
  for (int64_t bit = 0; bit < bits; ++bit) of_first += upstream[bit] * values[bit * arrays.pitch];
  Vec total = Vec{}, weighted = Vec{};
  for (int64_t e = 0; e < filled; ++e) {
    const Vec run = load(cells + e * kLanes), root = sqrt_of(1.0F + run);
    // The difference of two roots: of near ones, this form keeps all digits.
    Vec weight = exp_of(root_scale * ((run - best_run) / (root + best_root)) - shift);
    if ((e + 1) * kLanes > visible) weight = lanes_below(visible - e * kLanes) ? weight : Vec{};
    Vec grad = Vec{} - of_first;
    for (int64_t bit = 0; bit < bits; ++bit) grad += upstream[bit] * load(values + bit * arrays.pitch + e * kLanes);
    total += weight;
    weighted += weight * grad;
    store(cells + e * kLanes, root);
    store(arrays.weights + e * kLanes, weight);
    store(arrays.grad_weights + e * kLanes, grad);
  }
  const float null_weight = static_cast<float>(visible) * exp_of(Vec{} + (null_logit - shift))[0];
  const float inverse = 1.0F / (sum_of(total) + null_weight),
              mean = (sum_of(weighted) - null_weight * of_first) * inverse;
  for (int64_t e = 0; e < filled; ++e) {
    const Vec weight = load(arrays.weights + e * kLanes) * inverse;
    const Vec grad = weight * (load(arrays.grad_weights + e * kLanes) - mean);
    store(cells + e * kLanes, grad * (root_scale / 2) / load(cells + e * kLanes));
    if (!want_values) continue;
    for (int64_t bit = 0; bit < bits; ++bit) {
      float* to = grad_values + bit * arrays.pitch + e * kLanes;
      store(to, load(to) + upstream[bit] * weight);
    }
  }
  zero(cells + filled * kLanes, (count - filled) * kLanes);
}

// Adds what the gradients of a block's suffixes, [r * distances], give to those of its m. `matches`: of the block.
ROSA_INLINE void add_suffix_gradients(const float* matches, const float* grad_suffixes, int64_t distances, Vec* grad) {
  Vec products[kSurrogateSymbols + 1];  // of the rows r ... 31
  products[kSurrogateSymbols] = Vec{} + 1.0F;
  for (int64_t r = kSurrogateSymbols - 1; r > 0; --r) products[r] = products[r + 1] * load(matches + r * distances);
  Vec grad_sum = Vec{}, grad_product = Vec{};
  for (int64_t r = 1; r < kSurrogateSymbols; ++r) {
    grad_sum += load(grad_suffixes + r * distances);
    grad_product = grad_sum + grad_product;
    grad[r] += grad_product * products[r + 1];
    grad_product *= load(matches + r * distances);
  }
}

// From the gradients of S in cells to those of <query, key>, which replace them; the gradients of the suffixes of the
// block before replace this block's.
ROSA_INLINE void backward_of_cells(const SurrogateArrays& arrays, bool has_before, int64_t count, float match_scale) {
  for (int64_t e = 0; e < count; ++e) {
    const int64_t distances = arrays.distances, column = e * kLanes;
    const float* matches = arrays.matches + column;
    float *cells = arrays.cells + column, *grad_suffixes = arrays.grad_suffixes + column;
    Vec suffixes[kSurrogateSymbols], products[kSurrogateSymbols + 1], prefixes[kSurrogateSymbols + 1];
    suffixes_of(has_before ? arrays.matches_before + column : nullptr, distances, suffixes);
    products[0] = Vec{} + 1.0F;
    prefixes[0] = Vec{};
    for (int64_t r = 0; r < kSurrogateSymbols; ++r) {
      const Vec match = load(matches + r * distances);
      products[r + 1] = products[r] * match;
      prefixes[r + 1] = match * prefixes[r] + match;
    }
    Vec grad[kSurrogateSymbols], grad_product = Vec{}, grad_prefix = Vec{};
    for (int64_t r = kSurrogateSymbols - 1; r >= 0; --r) {
      const Vec upstream = load(cells + r * distances), match = load(matches + r * distances);
      grad_product += upstream * suffixes[r];
      grad_prefix += upstream;
      grad[r] = grad_product * products[r] + grad_prefix * (1.0F + prefixes[r]);
      grad_product *= match;
      grad_prefix *= match;
    }
    add_suffix_gradients(matches, grad_suffixes, distances, grad);
    for (int64_t r = 0; r + 1 < kSurrogateSymbols; ++r) {
      store(grad_suffixes + (r + 1) * distances, load(cells + r * distances) * products[r + 1]);
    }
    for (int64_t r = 0; r < kSurrogateSymbols; ++r) {
      store(cells + r * distances, grad[r] * load(matches + r * distances) * match_scale);
    }
  }
}

// Row t: grad_query, and the row's part of grad_keys.
template <int kBits>
ROSA_INLINE void product_gradients(const DenseSurrogateProblem& problem, const SurrogateArrays& arrays,
                                   const float* cells, int64_t t, int64_t visible, const float* query,
                                   float* grad_query) {
  const int64_t bits = kBits > 0 ? kBits : problem.query_bits;
  const float* keys = arrays.keys + arrays.length - t;
  float* grad_keys = arrays.grad_keys + arrays.length - t;
  Vec sums[kBits > 0 ? kBits : 64];
  for (int64_t bit = 0; bit < bits; ++bit) sums[bit] = Vec{};
  for (int64_t e = 0; e < num_vecs(visible); ++e) {
    const Vec grad = load(cells + e * kLanes);
    for (int64_t bit = 0; bit < bits; ++bit) {
      const int64_t at = bit * arrays.pitch + e * kLanes;
      sums[bit] += grad * load(keys + at);
      store(grad_keys + at, load(grad_keys + at) + query[bit] * grad);
    }
  }
  for (int64_t bit = 0; bit < bits; ++bit) grad_query[bit] = sum_of(sums[bit]);
}

template <int kQueryBits, int kValueBits>
void surrogate_backward_of(const DenseSurrogateProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                           ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value,
                           std::byte* workspace) {
  SurrogateArrays arrays(problem, workspace);
  const int64_t length = problem.length, last = (length - 1) / kSurrogateSymbols * kSurrogateSymbols;
  const float match_scale = static_cast<float>(kMismatchScale / 2) / static_cast<float>(problem.query_bits);
  reverse_rows(key, problem.query_bits, length, arrays.pitch, arrays.keys);
  reverse_rows(value, problem.value_bits, length, arrays.pitch, arrays.values);
  zero(arrays.grad_keys, problem.query_bits * arrays.pitch);
  zero(arrays.grad_values, problem.value_bits * arrays.pitch);
  for (int64_t head = 0; head < problem.num_heads; ++head) {
    const float* head_query = query.data + head * query.head_stride;
    const auto routes_of = [&](int64_t t) { return smaller(t, problem.max_distance - 1); };
    const auto matches_of = [&](int64_t begin, int64_t count, float* to) {
      match_rows<kQueryBits>(problem, arrays, head_query, query.row_stride, begin, count, to);
    };
    matches_of(last, num_vecs(routes_of(length - 1)), arrays.matches);
    zero(arrays.grad_suffixes, kSurrogateSymbols * arrays.distances);
    for (int64_t begin = last; begin >= 0; begin -= kSurrogateSymbols) {
      const int64_t end = smaller(begin + kSurrogateSymbols, length), count = num_vecs(routes_of(end - 1));
      const bool has_before = begin > 0;
      if (has_before) matches_of(begin - kSurrogateSymbols, count, arrays.matches_before);
      Vec best[kSurrogateSymbols];
      find_runs(arrays, has_before, count, best);
      for (int64_t t = begin; t < end; ++t) {
        softmax_of_row<kValueBits>(problem, arrays, t, routes_of(t), max_of(best[t - begin]),
                                   grad_output.data + head * grad_output.head_stride + t * grad_output.row_stride,
                                   count, grad_value.data != nullptr, arrays.cells + (t - begin) * arrays.distances);
      }
      for (int64_t r = end - begin; r < kSurrogateSymbols; ++r) {
        zero(arrays.cells + r * arrays.distances, count * kLanes);
      }
      if (grad_query.data != nullptr) backward_of_cells(arrays, has_before, count, match_scale);
      for (int64_t t = begin; t < end && grad_query.data != nullptr; ++t) {
        product_gradients<kQueryBits>(problem, arrays, arrays.cells + (t - begin) * arrays.distances, t, routes_of(t),
                                      head_query + t * query.row_stride,
                                      grad_query.data + head * grad_query.head_stride + t * grad_query.row_stride);
      }
      float* swapped = arrays.matches;
      arrays.matches = arrays.matches_before;
      arrays.matches_before = swapped;
    }
  }
  if (grad_key.data != nullptr) {
    unreverse_rows(arrays.grad_keys, problem.query_bits, length, arrays.pitch, grad_key);
  }
  if (grad_value.data != nullptr) {
    unreverse_rows(arrays.grad_values, problem.value_bits, length, arrays.pitch, grad_value);
  }
}

// The common sizes have their own code, in which the loops over bits are unrolled.
void dense_surrogate_backward(const DenseSurrogateProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                              ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value,
                              std::byte* workspace) {
  const int64_t bits = problem.query_bits == problem.value_bits ? problem.query_bits : 0;
  const auto run = bits == 8   ? surrogate_backward_of<8, 8>
                   : bits == 4 ? surrogate_backward_of<4, 4>
                   : bits == 1 ? surrogate_backward_of<1, 1>
                               : surrogate_backward_of<0, 0>;
  run(problem, query, key, value, grad_output, grad_query, grad_key, grad_value, workspace);
}

}  // namespace rosa::kernels::ROSA_KERNEL_NAMESPACE
