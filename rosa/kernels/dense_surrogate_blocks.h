// The dense surrogate on a GPU, as phases of a block of threads (thread_block.h); the arithmetic is that of
// dense_surrogate_impl.h. Forward (the softmax of each row): a block takes kTileRows rows of one head and goes over
// their distances. Backward: a block takes kBlockThreads diagonals of one head and goes over their rows, last first. A
// tile has as many rows as S compares symbols, so that S needs this tile and the one before.
#pragma once

#include "rosa/kernels/dense_surrogate.h"
#include "rosa/kernels/proxy_tiles.h"

namespace rosa::kernels {

static_assert(kTileRows == kSurrogateSymbols, "S reaches from any row of a tile into the tile before, no further");

// The routes of row t are at the distances 0 ... this number - 1.
ROSA_BLOCK_CODE int64_t num_routes(const ProxyArguments& p, int64_t t) { return smaller(t, p.max_distance - 1); }

// m(t, t - 1 - delta), 0 where there is no such cell. bits_scale: kMismatchScale / (2 D).
ROSA_BLOCK_CODE float match_at(const ProxyArguments& p, const SegmentView& view, int64_t t, int64_t delta) {
  if (t < 0 || t >= view.length || delta >= num_routes(p, t)) return 0;
  return expf((product_at(p, view, t, delta) - static_cast<float>(p.query_bits)) * p.bits_scale);
}

// Calls body(r, x) for each row r of the tile, last row first; x is what the rows after r give in the tile before.
template <class Body>
ROSA_BLOCK_CODE void walk_suffixes(const ProxyArguments& p, const SegmentView& view, int64_t begin, int64_t delta,
                                   const Body& body) {
  float product = 1, sum = 0;
  body(kTileRows - 1, sum);
  for (int r = kTileRows - 1; r > 0; --r) {
    product *= match_at(p, view, begin - kTileRows + r, delta);
    sum += product;
    body(r - 1, sum);
  }
}

// The null route: in the row's softmax as the part-0 thread's first cell, which carries 0.
template <class State, class Block>
ROSA_BLOCK_CODE void begin_with_null(Block& block, const ProxyArguments& p, int64_t begin,
                                     typename Block::template PerThread<State>& states) {
  begin_rows<State>(block, states);
  block.for_each_thread([&](int thread) {
    const int64_t routes = num_routes(p, begin + row_of(thread));
    const double log_count = routes > 1 ? log(static_cast<double>(routes)) : 0;
    states[thread].best_logit = static_cast<float>(p.logit_scale * (kNullUtility / kUtilityScale) + log_count);
    states[thread].total = part_of(thread) == 0 ? 1 : 0;
  });
}

template <int kMaxValueBits, class Block>
ROSA_BLOCK_CODE void dense_surrogate_forward_block(Block& block, const ProxyArguments& p, Tile<float>& roots) {
  using State = RowState<float, kMaxValueBits>;
  const int64_t num_tiles = round_up_div(p.max_length, kTileRows);
  for (int64_t work = block.index(); work < p.num_segments * p.num_heads * num_tiles; work += block.count()) {
    const int64_t begin = work % num_tiles * kTileRows, head = work / num_tiles % p.num_heads;
    const SegmentView view = view_of(p, work / num_tiles / p.num_heads, head);
    if (begin >= view.length) continue;
    typename Block::template PerThread<State> states;
    begin_with_null<State>(block, p, begin, states);
    const int64_t visible = num_routes(p, smaller(begin + kTileRows, view.length) - 1);
    for (int64_t strip = 0; strip < visible; strip += kBlockThreads) {
      block.for_each_thread([&](int thread) {
        float* column = roots.values + thread;
        walk_suffixes(p, view, begin, strip + thread, [&](int r, float suffix) { column[r * kTilePitch] = suffix; });
        float product = 1, prefix = 0;
        for (int r = 0; r < kTileRows; ++r) {
          const float match = match_at(p, view, begin + r, strip + thread);
          product *= match;
          prefix = match * prefix + match;
          column[r * kTilePitch] = sqrtf(1 + prefix + product * column[r * kTilePitch]) - 1;
        }
      });
      const TilePlace place{begin, strip, view.length, p.max_distance - 1, /*num_hidden=*/1};
      add_tile<kMaxValueBits, false>(block, p, view, place, roots, states);
    }
    finish_rows<kMaxValueBits, false, float>(block, p, view, begin, states);
  }
}

// What one thread keeps of its diagonal within a tile.
struct SurrogateColumn {
  float matches[kTileRows], suffixes[kTileRows];
  float products[kTileRows + 1], prefixes[kTileRows + 1];  // entry r: of the tile's first r rows
};

// Up the tile: the weights, and the gradients of S in `grads`.
ROSA_BLOCK_CODE void walk_up_surrogate(const ProxyArguments& p, const SegmentView& view, int64_t begin, int64_t delta,
                                       SurrogateColumn& column, float* grads, float* weights) {
  walk_suffixes(p, view, begin, delta, [&](int r, float suffix) { column.suffixes[r] = suffix; });
  column.products[0] = 1, column.prefixes[0] = 0;
  for (int r = 0; r < kTileRows; ++r) {
    const int64_t t = begin + r;
    const float match = match_at(p, view, t, delta);
    column.matches[r] = match;
    column.products[r + 1] = column.products[r] * match;
    column.prefixes[r + 1] = match * column.prefixes[r] + match;
    const bool is_route = t < view.length && delta < num_routes(p, t);
    const float root = sqrtf(1 + column.prefixes[r + 1] + column.products[r + 1] * column.suffixes[r]);
    const float weight = is_route ? weight_of(p, view, t, delta, root - 1) : 0.0F;
    weights[r * kTilePitch] = weight;
    const float grad_logit = is_route ? grad_logit_of<float>(p, view, t, delta, weight, 1) : 0.0F;
    grads[r * kTilePitch] = grad_logit * static_cast<float>(p.logit_scale) / (2 * root);
  }
}

// Down again: the gradients of the products replace those of S. grad_suffixes[r * kBlockThreads]: of the suffix that
// begins at row r of this tile, replaced by those of the tile before.
ROSA_BLOCK_CODE void walk_down_surrogate(const ProxyArguments& p, const SurrogateColumn& column, float* grads,
                                         float* grad_suffixes) {
  float of_matches[kTileRows], after[kTileRows + 1];  // after[r]: the product of the rows r ... 31
  float grad_product = 0, grad_prefix = 0;
  after[kTileRows] = 1;
  for (int r = kTileRows - 1; r >= 0; --r) {
    const float upstream = grads[r * kTilePitch];
    grad_product += upstream * column.suffixes[r];
    grad_prefix += upstream;
    of_matches[r] = grad_product * column.products[r] + grad_prefix * (1 + column.prefixes[r]);
    grad_product *= column.matches[r];
    grad_prefix *= column.matches[r];
    after[r] = after[r + 1] * column.matches[r];
  }
  float grad_sum = 0, grad_after = 0;
  for (int r = 1; r < kTileRows; ++r) {
    grad_sum += grad_suffixes[r * kBlockThreads];
    grad_after += grad_sum;
    of_matches[r] += grad_after * after[r + 1];
    grad_after *= column.matches[r];
    grad_suffixes[r * kBlockThreads] = grads[(r - 1) * kTilePitch] * column.products[r];
  }
  for (int r = 0; r < kTileRows; ++r) grads[r * kTilePitch] = of_matches[r] * column.matches[r] * p.bits_scale;
}

template <class Block>
ROSA_BLOCK_CODE void dense_surrogate_backward_block(Block& block, const ProxyArguments& p, Tile<float>& grad_products,
                                                    Tile<float>& weights) {
  float* grad_suffixes = reinterpret_cast<float*>(p.workspace) + block.index() * kTileRows * kBlockThreads;
  const int64_t num_strips = round_up_div(smaller(p.max_length, p.max_distance), kBlockThreads);
  for (int64_t work = block.index(); work < p.num_segments * p.num_heads * num_strips; work += block.count()) {
    const int64_t strip = work % num_strips * kBlockThreads, head = work / num_strips % p.num_heads;
    const SegmentView view = view_of(p, work / num_strips / p.num_heads, head);
    if (strip >= view.length) continue;
    block.for_each_thread([&](int thread) {
      for (int r = 0; r < kTileRows; ++r) grad_suffixes[r * kBlockThreads + thread] = 0;
    });
    const int64_t last = (view.length - 1) / kTileRows * kTileRows;
    for (int64_t begin = last; begin + kTileRows > strip; begin -= kTileRows) {
      block.for_each_thread([&](int thread) {
        SurrogateColumn column;
        walk_up_surrogate(p, view, begin, strip + thread, column, grad_products.values + thread,
                          weights.values + thread);
        walk_down_surrogate(p, column, grad_products.values + thread, grad_suffixes + thread);
      });
      add_gradients(block, p, view, begin, strip, grad_products, weights);
    }
  }
}

}  // namespace rosa::kernels
