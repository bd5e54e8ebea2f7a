// The arithmetic of sufa.h, on proxy_simd.h.
//
// Scores are sums along diagonals: with delta = t - j and d_t(delta) = <q_t, k_{t-1-delta}>, row t needs the sum of d
// over the rows t-W+1 ... t. Rows are taken in blocks of W: that window is the first rows of t's block (a running
// prefix) and the last rows of the block before (suffix sums). Nothing is ever subtracted, so nothing drifts. The
// backward is the mirror image: the gradient of d_t is the sum of the score gradients of rows t ... t+W-1.
#pragma once

#include <cstdint>

#include "rosa/kernels/proxy_simd.h"
#include "rosa/kernels/sufa.h"

namespace rosa::kernels::ROSA_KERNEL_NAMESPACE {

// Sizes, and the arrays of the workspace, of one call.
struct Layout {
  explicit Layout(const SufaProblem& problem)
      : length(problem.length),
        block(smaller(problem.num_symbols, problem.length)),
        distances(num_vecs(smaller(problem.max_distance, problem.length)) * kLanes),
        pitch(problem.length + 2 * block + 2 * kLanes) {}

  int64_t length, block, distances;
  int64_t pitch;  // of the reversed arrays: room for reads beyond both ends of the valid distances
};

// How many distances row t sees.
ROSA_INLINE int64_t num_visible(const SufaProblem& problem, int64_t t) {
  return smaller(t + 1 - problem.num_hidden, problem.max_distance);
}

// products[r][delta] = scale * d_t(delta) for t = begin + r < end, 0 for delta >= t; `count` vectors a row.
template <int kBits>
ROSA_INLINE void diagonal_products(const SufaProblem& problem, const Layout& layout, const float* query,
                                   int64_t row_stride, const float* keys, int64_t begin, int64_t end, int64_t count,
                                   float* products) {
  const int64_t bits = kBits > 0 ? kBits : problem.query_bits;
  float scaled[64];
  for (int64_t t = begin; t < end; ++t, products += layout.distances) {
    for (int64_t bit = 0; bit < bits; ++bit) scaled[bit] = query[t * row_stride + bit] * problem.scale;
    const float* shifted = keys + layout.length - t;
    const int64_t filled = smaller(num_vecs(t), count);
    for (int64_t e = 0; e < filled; ++e) {
      Vec sum = scaled[0] * load(shifted + e * kLanes);
      for (int64_t bit = 1; bit < bits; ++bit) sum += scaled[bit] * load(shifted + bit * layout.pitch + e * kLanes);
      store(products + e * kLanes, sum);
    }
    zero(products + filled * kLanes, (count - filled) * kLanes);
  }
}

// suffixes[r] = sum of products[r ... num_rows-1]; the two may be the same array.
ROSA_INLINE void suffix_sums(const Layout& layout, const float* products, int64_t num_rows, int64_t count,
                             float* suffixes) {
  const int64_t last = (num_rows - 1) * layout.distances;
  if (suffixes != products) {
    for (int64_t e = 0; e < count * kLanes; ++e) suffixes[last + e] = products[last + e];
  }
  for (int64_t r = num_rows - 2; r >= 0; --r) {
    const float* below = suffixes + (r + 1) * layout.distances;
    for (int64_t e = 0; e < count; ++e) {
      store(suffixes + r * layout.distances + e * kLanes,
            load(products + r * layout.distances + e * kLanes) + load(below + e * kLanes));
    }
  }
}

// Adds the row's products to the running prefix, writes the logits of the `visible` distances, returns their maximum.
ROSA_INLINE float logits_of_row(const float* products, const float* suffix, const float* bias, int64_t visible,
                                float* prefix, int64_t count, float* logits) {
  const Vec lowest = Vec{} - 3.0e38F;
  Vec best = lowest;
  const int64_t filled = num_vecs(visible);
  for (int64_t e = 0; e < count; ++e) {
    const Vec running = load(prefix + e * kLanes) + load(products + e * kLanes);
    store(prefix + e * kLanes, running);
    if (e >= filled) continue;
    Vec logit = running + load(bias + e * kLanes);
    if (suffix != nullptr) logit += load(suffix + e * kLanes);
    if (e == filled - 1) logit = lanes_below(visible - e * kLanes) ? logit : lowest;
    store(logits + e * kLanes, logit);
    best = best > logit ? best : logit;
  }
  return max_of(best);
}

// The arrays of the forward.
struct ForwardArrays {
  ForwardArrays(const SufaProblem& problem, const Layout& layout, std::byte* workspace) {
    keys = take<float>(workspace, problem.query_bits * layout.pitch);
    values = take<float>(workspace, problem.value_bits * layout.pitch);
    products = take<float>(workspace, layout.block * layout.distances);
    suffixes = take<float>(workspace, layout.block * layout.distances);
    prefix = take<float>(workspace, layout.distances);
    logits = take<float>(workspace, layout.distances);
    sums = take<float>(workspace, layout.block * (problem.value_bits + 1) * kLanes);
  }

  float *keys, *values;        // [bit][pitch], reversed in time
  float *products, *suffixes;  // of the current block; of the products of the block before
  float *prefix, *logits;      // one row
  float* sums;                 // of the rows of the current block
};

// The sums over a row: of its weights, and of these times the values.
template <int kBits>
struct RowSums {
  Vec total = Vec{};
  Vec mixed[kBits > 0 ? kBits : 64] = {};

  // `values` at the first of the lanes' distances.
  __attribute__((always_inline)) void add(Vec weight, const float* values, int64_t num_bits, int64_t pitch) {
    const int64_t bits = kBits > 0 ? kBits : num_bits;
    total += weight;
    for (int64_t bit = 0; bit < bits; ++bit) mixed[bit] += weight * load(values + bit * pitch);
  }
  // To and from (bits + 1) * kLanes floats.
  __attribute__((always_inline)) void keep(float* to, int64_t num_bits) const {
    const int64_t bits = kBits > 0 ? kBits : num_bits;
    store(to, total);
    for (int64_t bit = 0; bit < bits; ++bit) store(to + (bit + 1) * kLanes, mixed[bit]);
  }
  __attribute__((always_inline)) void go_on(const float* from, int64_t num_bits) {
    const int64_t bits = kBits > 0 ? kBits : num_bits;
    total = load(from);
    for (int64_t bit = 0; bit < bits; ++bit) mixed[bit] = load(from + (bit + 1) * kLanes);
  }
  __attribute__((always_inline)) void write(float* row, int64_t num_bits) const {
    const int64_t bits = kBits > 0 ? kBits : num_bits;
    const float sum = sum_of(total), inverse = sum > 0 ? 1.0F / sum : 0.0F;  // 0: a row that sees nothing
    for (int64_t bit = 0; bit < bits; ++bit) row[bit] = sum_of(mixed[bit]) * inverse;
  }
};

// Rows begin ... end-1 for any logits: the softmax subtracts the largest one, which takes a pass of its own.
template <int kQueryBits, int kValueBits>
ROSA_INLINE void forward_block(const SufaProblem& problem, const Layout& layout, const ForwardArrays& arrays,
                               const float* query, int64_t query_stride, int64_t begin, int64_t end, float* output,
                               int64_t output_stride) {
  const int64_t count = num_vecs(smaller(problem.max_distance, end));
  diagonal_products<kQueryBits>(problem, layout, query, query_stride, arrays.keys, begin, end, count, arrays.products);
  for (int64_t t = begin; t < end; ++t) {
    const int64_t r = t - begin, visible = num_visible(problem, t), filled = num_vecs(visible);
    const float* suffix = r + 1 < layout.block ? arrays.suffixes + (r + 1) * layout.distances : nullptr;
    const float best = logits_of_row(arrays.products + r * layout.distances, suffix, problem.bias, visible,
                                     arrays.prefix, count, arrays.logits);
    const float* values = arrays.values + layout.length - 1 - t;
    RowSums<kValueBits> sums;
    for (int64_t e = 0; e < filled; ++e) {
      Vec weight = exp_of(load(arrays.logits + e * kLanes) - best);
      if (e == filled - 1) weight = lanes_below(visible - e * kLanes) ? weight : Vec{};
      sums.add(weight, values + e * kLanes, problem.value_bits, layout.pitch);
    }
    sums.write(output + t * output_stride, problem.value_bits);
  }
}

// One row and the vectors [begin, end) of it, where no logit is beyond what exp takes: everything in one pass. Scores
// and logits are kept in powers of 2.
template <int kQueryBits, int kValueBits>
ROSA_INLINE void forward_tile_of_row(const SufaProblem& problem, const Layout& layout, const ForwardArrays& arrays,
                                     const float* query, int64_t t, int64_t r, int64_t begin, int64_t end,
                                     RowSums<kValueBits>& sums) {
  constexpr float kLog2OfE = 1.44269504F;
  const int64_t bits = kQueryBits > 0 ? kQueryBits : problem.query_bits;
  const int64_t visible = num_visible(problem, t);
  const float* suffix = r + 1 < layout.block ? arrays.suffixes + (r + 1) * layout.distances : nullptr;
  float* products = arrays.products + r * layout.distances;
  const float* keys = arrays.keys + layout.length - t;
  const float* values = arrays.values + layout.length - 1 - t;
  float scaled[64];
  for (int64_t bit = 0; bit < bits; ++bit) scaled[bit] = query[bit] * (problem.scale * kLog2OfE);
  for (int64_t first = begin * kLanes; first < end * kLanes; first += kLanes) {
    // Beyond delta = t - 1 the keys are 0.
    Vec product = scaled[0] * load(keys + first);
    for (int64_t bit = 1; bit < bits; ++bit) product += scaled[bit] * load(keys + bit * layout.pitch + first);
    store(products + first, product);
    Vec running = load(arrays.prefix + first) + product;
    store(arrays.prefix + first, running);
    if (suffix != nullptr) running += load(suffix + first);
    Vec weight = exp2_of(running + load(problem.bias + first) * kLog2OfE);
    if (first + kLanes > visible) weight = lanes_below(visible - first) ? weight : Vec{};
    sums.add(weight, values + first, problem.value_bits, layout.pitch);
  }
}

// As forward_block, where no logit is beyond what exp takes. Goes over the rows in tiles of distances, whose keys and
// values stay in the first cache, and leaves the suffix sums in place of the products.
template <int kQueryBits, int kValueBits>
ROSA_INLINE void forward_block_bounded(const SufaProblem& problem, const Layout& layout, const ForwardArrays& arrays,
                                       const float* query, int64_t query_stride, int64_t begin, int64_t end,
                                       float* output, int64_t output_stride) {
  constexpr int64_t kTileVecs = 256 / kLanes;
  const int64_t count = num_vecs(smaller(problem.max_distance, end));
  const int64_t sums_size = (problem.value_bits + 1) * kLanes;
  for (int64_t tile = 0; tile < count; tile += kTileVecs) {
    const int64_t tile_end = smaller(tile + kTileVecs, count);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t r = t - begin, filled = smaller(num_vecs(num_visible(problem, t)), tile_end);
      float* kept = arrays.sums + r * sums_size;
      RowSums<kValueBits> sums;
      if (tile > 0) sums.go_on(kept, problem.value_bits);
      if (tile < filled) {
        forward_tile_of_row<kQueryBits>(problem, layout, arrays, query + t * query_stride, t, r, tile, filled, sums);
      }
      sums.keep(kept, problem.value_bits);
      const int64_t rest = filled > tile ? filled : tile;
      zero(arrays.products + r * layout.distances + rest * kLanes, (tile_end - rest) * kLanes);
    }
    float* products = arrays.products + tile * kLanes;
    suffix_sums(layout, products, end - begin, tile_end - tile, products);
  }
  for (int64_t t = begin; t < end; ++t) {
    RowSums<kValueBits> sums;
    sums.go_on(arrays.sums + (t - begin) * sums_size, problem.value_bits);
    sums.write(output + t * output_stride, problem.value_bits);
  }
}

ROSA_INLINE float largest_magnitude(const ConstRows& rows, int64_t num_heads, int64_t length, int64_t num_bits) {
  float largest = 0;
  for (int64_t head = 0; head < num_heads; ++head) {
    for (int64_t t = 0; t < length; ++t) {
      const float* row = rows.data + head * rows.head_stride + t * rows.row_stride;
      for (int64_t bit = 0; bit < num_bits; ++bit) {
        const float magnitude = row[bit] < 0 ? -row[bit] : row[bit];
        largest = magnitude > largest ? magnitude : largest;
      }
    }
  }
  return largest;
}

// Whether every logit is so small that its power neither overflows nor vanishes, however many are added.
ROSA_INLINE bool is_bounded(const SufaProblem& problem, const ConstRows& query, const ConstRows& key) {
  constexpr float kMaxLogit = 40;
  const float products = largest_magnitude(query, problem.num_heads, problem.length, problem.query_bits) *
                         largest_magnitude(key, 1, problem.length, problem.query_bits);
  const float scale = problem.scale < 0 ? -problem.scale : problem.scale;
  const auto num_products = static_cast<float>(problem.query_bits * smaller(problem.num_symbols, problem.length));
  const float bias = largest_magnitude({problem.bias, 0, 1}, 1, smaller(problem.max_distance, problem.length), 1);
  return scale * num_products * products + bias <= kMaxLogit;
}

template <int kQueryBits, int kValueBits>
void forward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
             std::byte* workspace) {
  const Layout layout(problem);
  ForwardArrays arrays(problem, layout, workspace);
  reverse_rows(key, problem.query_bits, layout.length, layout.pitch, arrays.keys);
  reverse_rows(value, problem.value_bits, layout.length, layout.pitch, arrays.values);
  const bool bounded = is_bounded(problem, query, key);
  for (int64_t head = 0; head < problem.num_heads; ++head) {
    // Beyond the distances of a block its arrays must be 0: the next block reads on.
    zero(arrays.products, layout.block * layout.distances);
    zero(arrays.suffixes, layout.block * layout.distances);
    const float* head_query = query.data + head * query.head_stride;
    float* head_output = output.data + head * output.head_stride;
    for (int64_t begin = 0; begin < layout.length; begin += layout.block) {
      const int64_t end = smaller(begin + layout.block, layout.length);
      const int64_t count = num_vecs(smaller(problem.max_distance, end));
      zero(arrays.prefix, count * kLanes);
      if (bounded) {
        forward_block_bounded<kQueryBits, kValueBits>(problem, layout, arrays, head_query, query.row_stride, begin, end,
                                                      head_output, output.row_stride);
      } else {
        forward_block<kQueryBits, kValueBits>(problem, layout, arrays, head_query, query.row_stride, begin, end,
                                              head_output, output.row_stride);
        suffix_sums(layout, arrays.products, end - begin, count, arrays.products);
      }
      float* swapped = arrays.products;
      arrays.products = arrays.suffixes;
      arrays.suffixes = swapped;
    }
  }
}

// The arrays of the backward.
struct BackwardArrays {
  BackwardArrays(const SufaProblem& problem, const Layout& layout, std::byte* workspace) {
    const int64_t rows = layout.block * layout.distances;
    keys = take<float>(workspace, problem.query_bits * layout.pitch);
    grad_keys = take<float>(workspace, problem.query_bits * layout.pitch);
    values = take<float>(workspace, problem.value_bits * layout.pitch);
    grad_values = take<float>(workspace, problem.value_bits * layout.pitch);
    products = take<float>(workspace, rows);
    products_before = take<float>(workspace, rows);
    suffixes = take<float>(workspace, rows);
    grad_logits = take<float>(workspace, rows);
    grad_prefixes = take<float>(workspace, rows);
    running = take<float>(workspace, layout.distances);
    logits = take<float>(workspace, layout.distances);
    grad_weights = take<float>(workspace, layout.distances);
  }

  float *keys, *grad_keys, *values, *grad_values;  // [bit][pitch], reversed in time
  float* products;                                 // of the current block
  float* products_before;                          // of the block before
  float* suffixes;                                 // of products_before
  float* grad_logits;                              // of the current block
  float* grad_prefixes;                            // row r: the sum of the first r rows of the next block's grad_logits
  float *running, *logits, *grad_weights;          // one row
};

// From the logits of row t: the gradient of the logits, and what the row gives to grad_values.
template <int kValueBits>
ROSA_INLINE void backward_of_row(const SufaProblem& problem, const Layout& layout, const BackwardArrays& arrays,
                                 int64_t t, float best, const float* upstream, int64_t count, bool want_values,
                                 float* grad_logits) {
  const int64_t value_bits = kValueBits > 0 ? kValueBits : problem.value_bits;
  const int64_t visible = num_visible(problem, t), filled = num_vecs(visible);
  const float* values = arrays.values + layout.length - 1 - t;
  float* grad_values = arrays.grad_values + layout.length - 1 - t;
  Vec total = Vec{}, weighted = Vec{};
  for (int64_t e = 0; e < filled; ++e) {
    Vec weight = exp_of(load(arrays.logits + e * kLanes) - best);
    if (e == filled - 1) weight = lanes_below(visible - e * kLanes) ? weight : Vec{};
    Vec grad = upstream[0] * load(values + e * kLanes);
    for (int64_t bit = 1; bit < value_bits; ++bit)
      grad += upstream[bit] * load(values + bit * layout.pitch + e * kLanes);
    total += weight;
    weighted += weight * grad;
    store(arrays.logits + e * kLanes, weight);
    store(arrays.grad_weights + e * kLanes, grad);
  }
  const float sum = sum_of(total), inverse = sum > 0 ? 1.0F / sum : 0.0F;
  const float mean = sum_of(weighted) * inverse;
  for (int64_t e = 0; e < filled; ++e) {
    const Vec weight = load(arrays.logits + e * kLanes) * inverse;
    store(grad_logits + e * kLanes, weight * (load(arrays.grad_weights + e * kLanes) - mean));
    if (!want_values) continue;
    for (int64_t bit = 0; bit < value_bits; ++bit) {
      float* to = grad_values + bit * layout.pitch + e * kLanes;
      store(to, load(to) + upstream[bit] * weight);
    }
  }
  zero(grad_logits + filled * kLanes, (count - filled) * kLanes);
}

// From grad_logits of rows begin ... end-1 (and of the next block): grad_query of these rows, and their part of
// grad_keys.
template <int kQueryBits>
ROSA_INLINE void backward_of_products(const SufaProblem& problem, const Layout& layout, const BackwardArrays& arrays,
                                      int64_t begin, int64_t end, int64_t count, const float* query,
                                      int64_t query_stride, float* grad_query, int64_t grad_query_stride) {
  const int64_t bits = kQueryBits > 0 ? kQueryBits : problem.query_bits;
  zero(arrays.running, count * kLanes);
  float scaled[64];
  for (int64_t t = end - 1; t >= begin; --t) {
    const int64_t r = t - begin;
    for (int64_t bit = 0; bit < bits; ++bit) scaled[bit] = query[t * query_stride + bit] * problem.scale;
    const float* keys = arrays.keys + layout.length - t;
    float* grad_keys = arrays.grad_keys + layout.length - t;
    Vec sums[kQueryBits > 0 ? kQueryBits : 64];
    for (int64_t bit = 0; bit < bits; ++bit) sums[bit] = Vec{};
    for (int64_t e = 0; e < count; ++e) {
      const int64_t at = r * layout.distances + e * kLanes;
      const Vec running = load(arrays.running + e * kLanes) + load(arrays.grad_logits + at);
      store(arrays.running + e * kLanes, running);
      if (e * kLanes >= t) continue;
      // Beyond delta = t - 1 the keys are 0 and grad_keys is room that nobody reads.
      const Vec grad = running + load(arrays.grad_prefixes + at);
      for (int64_t bit = 0; bit < bits; ++bit) {
        const int64_t offset = bit * layout.pitch + e * kLanes;
        sums[bit] += grad * load(keys + offset);
        store(grad_keys + offset, load(grad_keys + offset) + scaled[bit] * grad);
      }
    }
    float* row = grad_query + t * grad_query_stride;
    for (int64_t bit = 0; bit < bits; ++bit) row[bit] = sum_of(sums[bit]) * problem.scale;
  }
}

// Turns grad_logits of a block into the exclusive prefix sums that the block before needs.
ROSA_INLINE void prefix_sums(const Layout& layout, int64_t num_rows, int64_t count, float* grad_logits,
                             float* running) {
  zero(running, count * kLanes);
  for (int64_t r = 0; r < layout.block; ++r) {
    float* row = grad_logits + r * layout.distances;
    for (int64_t e = 0; e < count; ++e) {
      const Vec before = load(running + e * kLanes);
      if (r < num_rows) store(running + e * kLanes, before + load(row + e * kLanes));
      store(row + e * kLanes, before);
    }
  }
}

template <int kQueryBits, int kValueBits>
void backward_of_head(const SufaProblem& problem, const Layout& layout, BackwardArrays arrays, const float* query,
                      int64_t query_stride, const float* upstream, int64_t upstream_stride, float* grad_query,
                      int64_t grad_query_stride, bool want_values) {
  const int64_t length = layout.length;
  const int64_t last_begin = (length - 1) / layout.block * layout.block;
  diagonal_products<kQueryBits>(problem, layout, query, query_stride, arrays.keys, last_begin, length,
                                num_vecs(smaller(problem.max_distance, length)), arrays.products);
  zero(arrays.grad_prefixes, layout.block * layout.distances);
  for (int64_t begin = last_begin; begin >= 0; begin -= layout.block) {
    const int64_t end = smaller(begin + layout.block, length);
    const int64_t count = num_vecs(smaller(problem.max_distance, end));
    if (begin > 0) {
      diagonal_products<kQueryBits>(problem, layout, query, query_stride, arrays.keys, begin - layout.block, begin,
                                    count, arrays.products_before);
      suffix_sums(layout, arrays.products_before, layout.block, count, arrays.suffixes);
    }
    zero(arrays.running, count * kLanes);
    for (int64_t t = begin; t < end; ++t) {
      const int64_t r = t - begin;
      const float* suffix = begin > 0 && r + 1 < layout.block ? arrays.suffixes + (r + 1) * layout.distances : nullptr;
      const float best = logits_of_row(arrays.products + r * layout.distances, suffix, problem.bias,
                                       num_visible(problem, t), arrays.running, count, arrays.logits);
      backward_of_row<kValueBits>(problem, layout, arrays, t, best, upstream + t * upstream_stride, count, want_values,
                                  arrays.grad_logits + r * layout.distances);
    }
    if (grad_query != nullptr) {
      backward_of_products<kQueryBits>(problem, layout, arrays, begin, end, count, query, query_stride, grad_query,
                                       grad_query_stride);
      prefix_sums(layout, end - begin, count, arrays.grad_logits, arrays.running);
    }
    float* swapped = arrays.grad_logits;
    arrays.grad_logits = arrays.grad_prefixes;
    arrays.grad_prefixes = swapped;
    swapped = arrays.products;
    arrays.products = arrays.products_before;
    arrays.products_before = swapped;
  }
}

template <int kQueryBits, int kValueBits>
void backward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
              Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace) {
  const Layout layout(problem);
  const BackwardArrays arrays(problem, layout, workspace);
  reverse_rows(key, problem.query_bits, layout.length, layout.pitch, arrays.keys);
  reverse_rows(value, problem.value_bits, layout.length, layout.pitch, arrays.values);
  zero(arrays.grad_keys, problem.query_bits * layout.pitch);
  zero(arrays.grad_values, problem.value_bits * layout.pitch);
  for (int64_t head = 0; head < problem.num_heads; ++head) {
    float* head_grad_query = grad_query.data == nullptr ? nullptr : grad_query.data + head * grad_query.head_stride;
    backward_of_head<kQueryBits, kValueBits>(problem, layout, arrays, query.data + head * query.head_stride,
                                             query.row_stride, grad_output.data + head * grad_output.head_stride,
                                             grad_output.row_stride, head_grad_query, grad_query.row_stride,
                                             grad_value.data != nullptr);
  }
  if (grad_key.data != nullptr)
    unreverse_rows(arrays.grad_keys, problem.query_bits, layout.length, layout.pitch, grad_key);
  if (grad_value.data != nullptr)
    unreverse_rows(arrays.grad_values, problem.value_bits, layout.length, layout.pitch, grad_value);
}

// The common sizes have their own code, in which the loops over bits are unrolled.
void sufa_forward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                  std::byte* workspace) {
  const int64_t bits = problem.query_bits == problem.value_bits ? problem.query_bits : 0;
  const auto run = bits == 8   ? forward<8, 8>
                   : bits == 4 ? forward<4, 4>
                   : bits == 2 ? forward<2, 2>
                   : bits == 1 ? forward<1, 1>
                               : forward<0, 0>;
  run(problem, query, key, value, output, workspace);
}

void sufa_backward(const SufaProblem& problem, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
                   Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace) {
  const int64_t bits = problem.query_bits == problem.value_bits ? problem.query_bits : 0;
  const auto run = bits == 8   ? backward<8, 8>
                   : bits == 4 ? backward<4, 4>
                   : bits == 2 ? backward<2, 2>
                   : bits == 1 ? backward<1, 1>
                               : backward<0, 0>;
  run(problem, query, key, value, grad_output, grad_query, grad_key, grad_value, workspace);
}

}  // namespace rosa::kernels::ROSA_KERNEL_NAMESPACE
