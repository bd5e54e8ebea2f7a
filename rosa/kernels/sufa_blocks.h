// SUFA on a GPU, as phases of a block of threads (thread_block.h). Forward: a block takes kTileRows rows of one head
// and goes over their distances. Backward: a block takes kBlockThreads diagonals of one head and goes over their rows,
// last first. A thread follows one diagonal; its rolling sums begin anew in every tile, so that nothing drifts.
#pragma once

#include "rosa/kernels/proxy_tiles.h"

namespace rosa::kernels {

// The gradients of the last rows, of each thread's diagonal: a ring [row % size][thread].
ROSA_HOST_DEVICE int64_t sufa_ring_rows(const ProxyArguments& p) {
  return smaller(p.num_symbols, p.max_length) + kTileRows;
}

// Calls body(row of the tile, score without its scale) for the tile's rows along diagonal delta.
template <class Body>
ROSA_BLOCK_CODE void walk_scores(const ProxyArguments& p, const SegmentView& view, int64_t begin, int64_t delta,
                                 const Body& body) {
  float sum = 0;
  for (int64_t w = 1; w < p.num_symbols && begin - w > delta; ++w) sum += product_at(p, view, begin - w, delta);
  for (int64_t r = 0; r < kTileRows && begin + r < view.length; ++r) {
    const int64_t t = begin + r, oldest = t - p.num_symbols + 1;
    sum += product_at(p, view, t, delta);
    body(r, sum);
    if (oldest >= 0) sum -= product_at(p, view, oldest, delta);
  }
}

template <int kMaxValueBits, class Block>
ROSA_BLOCK_CODE void sufa_forward_block(Block& block, const ProxyArguments& p, Tile<float>& scores) {
  using State = RowState<float, kMaxValueBits>;
  const int64_t num_tiles = round_up_div(p.max_length, kTileRows);
  for (int64_t work = block.index(); work < p.num_segments * p.num_heads * num_tiles; work += block.count()) {
    const int64_t begin = work % num_tiles * kTileRows, head = work / num_tiles % p.num_heads;
    const SegmentView view = view_of(p, work / num_tiles / p.num_heads, head);
    if (begin >= view.length) continue;
    typename Block::template PerThread<State> states;
    begin_rows<State>(block, states);
    const int64_t last = smaller(begin + kTileRows, view.length), visible = smaller(last, p.max_distance);
    for (int64_t strip = 0; strip < visible; strip += kBlockThreads) {
      block.for_each_thread([&](int thread) {
        walk_scores(p, view, begin, strip + thread,
                    [&](int64_t r, float score) { scores.values[r * kTilePitch + thread] = score; });
      });
      add_tile<kMaxValueBits, false>(block, p, view, {begin, strip, view.length, p.max_distance, p.num_hidden}, scores,
                                     states);
    }
    finish_rows<kMaxValueBits, false, float>(block, p, view, begin, states);
  }
}

// One thread's diagonal within a tile: the weights, and the gradients of the products. `ring`: at the thread's column.
ROSA_BLOCK_CODE void sufa_backward_of_tile(const ProxyArguments& p, const SegmentView& view, int64_t begin,
                                           int64_t delta, float* ring, float* grad_products, float* weights) {
  const auto ring_rows = static_cast<uint32_t>(sufa_ring_rows(p));
  const int64_t end = smaller(begin + kTileRows, view.length);
  const auto ring_at = [&](int64_t t) -> float& { return ring[static_cast<uint32_t>(t) % ring_rows * kBlockThreads]; };
  walk_scores(p, view, begin, delta, [&](int64_t r, float score) {
    const int64_t t = begin + r;
    const bool is_visible = delta <= t - p.num_hidden && delta < p.max_distance;
    const float weight = is_visible ? weight_of(p, view, t, delta, score) : 0.0F;
    weights[r * kTilePitch] = weight;
    ring_at(t) = is_visible ? grad_logit_of<float>(p, view, t, delta, weight, 1) : 0.0F;
  });
  // The product of row t is in the scores of the rows t ... t + num_symbols - 1.
  float sum = 0;
  for (int64_t t = end; t < smaller(end + p.num_symbols, view.length); ++t) sum += ring_at(t);
  for (int64_t t = end - 1; t >= begin; --t) {
    if (t + p.num_symbols < view.length) sum -= ring_at(t + p.num_symbols);
    sum += ring_at(t);
    grad_products[(t - begin) * kTilePitch] = delta < t ? sum * static_cast<float>(p.logit_scale) : 0.0F;
  }
}

template <class Block>
ROSA_BLOCK_CODE void sufa_backward_block(Block& block, const ProxyArguments& p, Tile<float>& grad_products,
                                         Tile<float>& weights) {
  float* ring = reinterpret_cast<float*>(p.workspace) + block.index() * sufa_ring_rows(p) * kBlockThreads;
  const int64_t num_strips = round_up_div(smaller(p.max_length, p.max_distance), kBlockThreads);
  for (int64_t work = block.index(); work < p.num_segments * p.num_heads * num_strips; work += block.count()) {
    const int64_t strip = work % num_strips * kBlockThreads, head = work / num_strips % p.num_heads;
    const SegmentView view = view_of(p, work / num_strips / p.num_heads, head);
    if (strip >= view.length) continue;
    const int64_t last = (view.length - 1) / kTileRows * kTileRows;
    for (int64_t begin = last; begin + kTileRows > strip; begin -= kTileRows) {
      block.for_each_thread([&](int thread) {
        sufa_backward_of_tile(p, view, begin, strip + thread, ring + thread, grad_products.values + thread,
                              weights.values + thread);
      });
      add_gradients(block, p, view, begin, strip, grad_products, weights);
    }
  }
}

}  // namespace rosa::kernels
