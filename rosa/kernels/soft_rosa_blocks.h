// Soft ROSA on a GPU, as phases of a block of threads (thread_block.h); the recurrence is that of soft_rosa_impl.h.
// Forward: a block takes one head and goes over its rows in tiles, and over the distances of each. Backward: a block
// takes kBlockThreads diagonals of one head, goes up their rows keeping the sums at the beginning of each tile, and
// down again, recomputing one tile at a time.
#pragma once

#include "rosa/kernels/proxy_tiles.h"

namespace rosa::kernels {

// c and s of one diagonal.
struct RunSums {
  double total, run;
};

// min(a, 1 - a) of the cell (t, t - 1 - delta), negative where a is the larger; 0 where a is 0.
ROSA_BLOCK_CODE float signed_agreement_at(const ProxyArguments& p, const SegmentView& view, int64_t t, int64_t delta) {
  if (delta >= t || delta + 1 >= p.max_distance) return 0;
  const float logit = product_at(p, view, t, delta) * p.bits_scale - p.bits_offset;
  const float power = expf(logit > 0 ? -logit : logit);
  const float agreement = power / (1 + power);
  return logit > 0 ? -agreement : agreement;
}

ROSA_BLOCK_CODE float agreement_of(float signed_agreement) {
  return signed_agreement < 0 ? 1 + signed_agreement : signed_agreement;
}

// One step along the diagonal. Returns whether the run began anew.
ROSA_BLOCK_CODE bool advance(RunSums& sums, float agreement) {
  sums.total += agreement;
  const double longer = sums.run + agreement, begun = sums.total * agreement;
  sums.run = begun < longer ? begun : longer;
  return begun < longer;
}

template <int kMaxValueBits, class Block>
ROSA_BLOCK_CODE void soft_rosa_forward_block(Block& block, const ProxyArguments& p, Tile<double>& runs) {
  using State = RowState<double, kMaxValueBits>;
  RunSums* sums = reinterpret_cast<RunSums*>(p.workspace) + block.index() * p.max_length;
  for (int64_t work = block.index(); work < p.num_segments * p.num_heads; work += block.count()) {
    const SegmentView view = view_of(p, work / p.num_heads, work % p.num_heads);
    block.for_each_thread([&](int thread) {
      for (int64_t delta = thread; delta < view.length; delta += kBlockThreads) sums[delta] = {0, 0};
    });
    for (int64_t begin = 0; begin < view.length; begin += kTileRows) {
      typename Block::template PerThread<State> states;
      begin_rows<State>(block, states);
      const int64_t end = smaller(begin + kTileRows, view.length);
      for (int64_t strip = 0; strip < end; strip += kBlockThreads) {
        block.for_each_thread([&](int thread) {
          const int64_t delta = strip + thread;
          if (delta >= view.length) return;
          RunSums diagonal = sums[delta];
          for (int64_t t = begin; t < end; ++t) {
            advance(diagonal, agreement_of(signed_agreement_at(p, view, t, delta)));
            runs.values[(t - begin) * kTilePitch + thread] = diagonal.run;
          }
          sums[delta] = diagonal;
        });
        add_tile<kMaxValueBits, true>(block, p, view, {begin, strip, view.length, view.length}, runs, states);
      }
      finish_rows<kMaxValueBits, true, double>(block, p, view, begin, states);
    }
  }
}

// The gradients of the runs and of the totals along one diagonal, summed from the last row down.
struct RunGradients {
  double run, total;
};

// One thread's diagonal within a tile, from the sums at its beginning: up, then down with the gradients.
ROSA_BLOCK_CODE void soft_rosa_backward_of_tile(const ProxyArguments& p, const SegmentView& view, int64_t begin,
                                                int64_t delta, RunSums sums, RunGradients& gradients,
                                                float* grad_products, float* weights) {
  const int64_t end = smaller(begin + kTileRows, view.length);
  uint32_t begun_anew = 0;  // a bit a row
  static_assert(kTileRows <= 32, "the rows of a tile are the bits of begun_anew");
  for (int64_t t = begin; t < end; ++t) {
    const int64_t at = (t - begin) * kTilePitch;
    grad_products[at] = signed_agreement_at(p, view, t, delta);
    if (advance(sums, agreement_of(grad_products[at]))) begun_anew |= uint32_t{1} << (t - begin);
    weights[at] = delta <= t ? weight_of(p, view, t, delta, sums.run) : 0.0F;
  }
  for (int64_t t = end - 1; t >= begin; --t) {
    const int64_t at = (t - begin) * kTilePitch, row = view.rows + t;
    const float signed_agreement = grad_products[at], agreement = agreement_of(signed_agreement);
    const float smallest = signed_agreement < 0 ? -signed_agreement : signed_agreement;
    double grad = gradients.run;
    if (delta <= t) {
      grad += grad_logit_of<double>(p, view, t, delta, weights[at], p.confidences[row]) * p.logit_scale;
      if (p.best_distances[row] == delta) grad += p.grad_best_runs[row];
    }
    double grad_agreement;
    if ((begun_anew >> (t - begin)) & 1U) {
      gradients.total += grad * agreement;
      grad_agreement = grad * sums.total + gradients.total;
      gradients.run = 0;
    } else {
      grad_agreement = grad + gradients.total;
      gradients.run = grad;
    }
    sums.total -= agreement;
    grad_products[at] = static_cast<float>(grad_agreement * (smallest * (1 - smallest)) * p.bits_scale);
    weights[at] *= p.confidences[row];
  }
}

// The sums at the beginning of each tile: [tile][thread].
ROSA_HOST_DEVICE int64_t soft_rosa_checkpoints(const ProxyArguments& p) {
  return round_up_div(p.max_length, kTileRows) * kBlockThreads;
}

template <class Block>
ROSA_BLOCK_CODE void soft_rosa_backward_block(Block& block, const ProxyArguments& p, Tile<float>& grad_products,
                                              Tile<float>& weights) {
  RunSums* checkpoints = reinterpret_cast<RunSums*>(p.workspace) + block.index() * soft_rosa_checkpoints(p);
  const int64_t num_strips = round_up_div(p.max_length, kBlockThreads);
  for (int64_t work = block.index(); work < p.num_segments * p.num_heads * num_strips; work += block.count()) {
    const int64_t strip = work % num_strips * kBlockThreads, head = work / num_strips % p.num_heads;
    const SegmentView view = view_of(p, work / num_strips / p.num_heads, head);
    if (strip >= view.length) continue;
    typename Block::template PerThread<RunGradients> gradients;
    const int64_t first = strip / kTileRows, last = (view.length - 1) / kTileRows;
    block.for_each_thread([&](int thread) {
      gradients[thread] = {0, 0};
      RunSums sums{0, 0};
      for (int64_t tile = first; tile <= last; ++tile) {
        checkpoints[tile * kBlockThreads + thread] = sums;
        for (int64_t t = tile * kTileRows; t < (tile + 1) * kTileRows && tile < last; ++t) {
          advance(sums, agreement_of(signed_agreement_at(p, view, t, strip + thread)));
        }
      }
    });
    for (int64_t tile = last; tile >= first; --tile) {
      block.for_each_thread([&](int thread) {
        soft_rosa_backward_of_tile(p, view, tile * kTileRows, strip + thread,
                                   checkpoints[tile * kBlockThreads + thread], gradients[thread],
                                   grad_products.values + thread, weights.values + thread);
      });
      add_gradients(block, p, view, tile * kTileRows, strip, grad_products, weights);
    }
  }
}

}  // namespace rosa::kernels
