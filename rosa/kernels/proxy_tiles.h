// What the blocks of the proxies on a GPU share: tiles of kTileRows rows by kBlockThreads distances, an online
// softmax over the tiles of a row, and the gradients that a tile adds. Run by thread_block.h in the CPU tests.
#pragma once

#include <math.h>

#include <cstdint>

#include "rosa/kernels/host_device.h"
#include "rosa/kernels/proxy_device.h"
#include "rosa/kernels/thread_block.h"

namespace rosa::kernels {

constexpr int kTileRows = 32;
constexpr int kRowParts = kBlockThreads / kTileRows;   // threads that share a row
constexpr int kTilePitch = kBlockThreads + kRowParts;  // the threads of a warp then read different banks

// [row][distance]
template <class Value>
struct Tile {
  Value values[kTileRows * kTilePitch];
};

ROSA_HOST_DEVICE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
ROSA_HOST_DEVICE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
ROSA_HOST_DEVICE int64_t round_up_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// One head of one document: element (bit, t) of an array of bits is at bit * pitch + t.
struct SegmentView {
  int64_t length, pitch;
  const float *query, *key, *value, *grad_output;
  float *output, *grad_query, *grad_key, *grad_value;
  int64_t rows;  // where its rows begin in the statistics
};

ROSA_BLOCK_CODE SegmentView view_of(const ProxyArguments& p, int64_t segment, int64_t head) {
  const Segment s = p.segments[segment];
  const int64_t query_head = s.row * p.num_heads + head;
  const int64_t key_head = s.row * p.num_kv_heads + head / (p.num_heads / p.num_kv_heads);
  const int64_t at_query = query_head * p.query_bits * p.length + s.begin;
  const int64_t at_output = query_head * p.value_bits * p.length + s.begin;
  const int64_t at_key = key_head * p.query_bits * p.length + s.begin;
  const int64_t at_value = key_head * p.value_bits * p.length + s.begin;
  const auto at = [](auto* array, int64_t offset) { return array == nullptr ? nullptr : array + offset; };
  return {s.length,
          p.length,
          p.query + at_query,
          p.key + at_key,
          p.value + at_value,
          at(p.grad_output, at_output),
          at(p.output, at_output),
          at(p.grad_query, at_query),
          at(p.grad_key, at_key),
          at(p.grad_value, at_value),
          query_head * p.length + s.begin};
}

// <query[t], key[t - 1 - delta]>, 0 where there is no such cell.
ROSA_BLOCK_CODE float product_at(const ProxyArguments& p, const SegmentView& view, int64_t t, int64_t delta) {
  const int64_t i = t - 1 - delta;
  if (i < 0) return 0;
  float sum = 0;
  for (int64_t bit = 0; bit < p.query_bits; ++bit) {
    sum += view.query[bit * view.pitch + t] * view.key[bit * view.pitch + i];
  }
  return sum;
}

// What a thread knows of its row, over its own distances; best_logit is shared by the row's threads. The sums have the
// type of the logits: where runs make the logits, the error of a sum is multiplied by the length of the runs.
template <class Logit, int kMaxValueBits>
struct RowState {
  Logit best_logit;
  Logit total;
  Logit mixed[kMaxValueBits];
  double best_run;  // soft ROSA: the largest S, and where
  int32_t best_distance;
};

template <class State, class Block>
ROSA_BLOCK_CODE void begin_rows(Block& block, typename Block::template PerThread<State>& states) {
  block.for_each_thread([&](int thread) {
    State& state = states[thread];
    state.best_logit = -1e30F;
    state.total = 0;
    for (auto& value : state.mixed) value = 0;
    state.best_run = -1;
    state.best_distance = 0;
  });
}

// The thread's place in a tile: row, and which of the row's threads.
ROSA_BLOCK_CODE int row_of(int thread) { return thread / kRowParts; }
ROSA_BLOCK_CODE int part_of(int thread) { return thread % kRowParts; }

// A tile as the softmax sees it: rows begin ... below length, distances strip ... below max_visible. Row t sees the
// distances 0 ... t without the last num_hidden.
struct TilePlace {
  int64_t begin, strip, length, max_visible;
  int64_t num_hidden = 0;
};

// Calls body(lane, distance, logit) for the visible cells of the thread's part of its row.
template <class Value, class Body>
ROSA_BLOCK_CODE void for_each_logit(const ProxyArguments& p, const TilePlace& place, const Tile<Value>& tile,
                                    int thread, const Body& body) {
  const int64_t t = place.begin + row_of(thread);
  const int64_t visible = t < place.length ? smaller(t + 1 - place.num_hidden, place.max_visible) - place.strip : 0;
  for (int lane = part_of(thread); lane < kBlockThreads && lane < visible; lane += kRowParts) {
    const int64_t delta = place.strip + lane;
    const Value value = tile.values[row_of(thread) * kTilePitch + lane];
    body(lane, delta, value * static_cast<Value>(p.logit_scale) + p.bias[delta]);
  }
}

// Adds a tile of scores (SUFA) or runs (soft ROSA) to the softmax of its rows.
template <int kMaxValueBits, bool kRuns, class Value, class Block>
ROSA_BLOCK_CODE void add_tile(Block& block, const ProxyArguments& p, const SegmentView& view, const TilePlace& place,
                              const Tile<Value>& tile,
                              typename Block::template PerThread<RowState<Value, kMaxValueBits>>& states) {
  typename Block::template PerThread<Value> best;
  block.for_each_thread([&](int thread) {
    best[thread] = states[thread].best_logit;
    for_each_logit(p, place, tile, thread,
                   [&](int, int64_t, Value logit) { best[thread] = logit > best[thread] ? logit : best[thread]; });
  });
  block.template all_reduce<kRowParts>(best, [](Value a, Value b) { return a > b ? a : b; });
  block.for_each_thread([&](int thread) {
    RowState<Value, kMaxValueBits>& state = states[thread];
    const int64_t t = place.begin + row_of(thread);
    if (t >= view.length) return;
    const float shrink = expf(static_cast<float>(state.best_logit - best[thread]));
    state.best_logit = best[thread];
    state.total *= shrink;
    for (auto& value : state.mixed) value *= shrink;
    for_each_logit(p, place, tile, thread, [&](int lane, int64_t delta, Value logit) {
      const Value weight = expf(static_cast<float>(logit - best[thread]));
      state.total += weight;
      for (int bit = 0; bit < kMaxValueBits; ++bit) {
        if (bit < p.value_bits) state.mixed[bit] += weight * view.value[bit * view.pitch + t - delta];
      }
      if (!kRuns) return;
      const double run = tile.values[row_of(thread) * kTilePitch + lane];
      if (run <= state.best_run) return;
      state.best_run = run;
      state.best_distance = static_cast<int32_t>(delta);
    });
  });
}

// Combines what the threads of each row found, writes the outputs and the statistics.
template <int kMaxValueBits, bool kRuns, class Value, class Block>
ROSA_BLOCK_CODE void finish_rows(Block& block, const ProxyArguments& p, const SegmentView& view, int64_t begin,
                                 typename Block::template PerThread<RowState<Value, kMaxValueBits>>& states) {
  typename Block::template PerThread<Value> sum, inverse, grad_confidence;
  typename Block::template PerThread<float> confidence;
  typename Block::template PerThread<double> best_run;
  typename Block::template PerThread<int32_t> best_distance;
  const auto plus = [](Value a, Value b) { return a + b; };
  block.for_each_thread([&](int thread) {
    sum[thread] = states[thread].total;
    best_run[thread] = states[thread].best_run;
  });
  block.template all_reduce<kRowParts>(sum, plus);
  block.template all_reduce<kRowParts>(best_run, [](double a, double b) { return a > b ? a : b; });
  block.for_each_thread([&](int thread) {
    const bool is_best = states[thread].best_run == best_run[thread];
    best_distance[thread] = is_best ? states[thread].best_distance : INT32_MAX;
    confidence[thread] = kRuns && best_run[thread] < 1 ? static_cast<float>(best_run[thread]) : 1.0F;
    inverse[thread] = sum[thread] > 0 ? 1 / sum[thread] : 0;  // 0: a row that sees nothing
    grad_confidence[thread] = 0;
    const int64_t t = begin + row_of(thread);
    if (t < view.length && part_of(thread) == 0 && view.grad_output != nullptr) {
      p.log_totals[view.rows + t] = states[thread].best_logit + log(static_cast<double>(sum[thread]));
    }
  });
  block.template all_reduce<kRowParts>(best_distance, [](int32_t a, int32_t b) { return a < b ? a : b; });
  for (int bit = 0; bit < kMaxValueBits; ++bit) {
    if (bit >= p.value_bits) continue;
    block.for_each_thread([&](int thread) { sum[thread] = states[thread].mixed[bit]; });
    block.template all_reduce<kRowParts>(sum, plus);
    block.for_each_thread([&](int thread) {
      const int64_t t = begin + row_of(thread), at = bit * view.pitch + t;
      if (t >= view.length || part_of(thread) != 0) return;
      const Value mixed = sum[thread] * inverse[thread];
      if (view.output != nullptr) view.output[at] = static_cast<float>(mixed * confidence[thread]);
      if (view.grad_output != nullptr) grad_confidence[thread] += mixed * view.grad_output[at];
    });
  }
  block.for_each_thread([&](int thread) {
    const int64_t t = begin + row_of(thread);
    if (t >= view.length || part_of(thread) != 0 || view.grad_output == nullptr) return;
    p.means[view.rows + t] = grad_confidence[thread] * confidence[thread];
    if (!kRuns) return;
    p.confidences[view.rows + t] = confidence[thread];
    p.grad_best_runs[view.rows + t] = best_run[thread] <= 1 ? static_cast<float>(grad_confidence[thread]) : 0;
    p.best_distances[view.rows + t] = best_distance[thread];
  });
}

// A cell's weight in the softmax of row t.
ROSA_BLOCK_CODE float weight_of(const ProxyArguments& p, const SegmentView& view, int64_t t, int64_t delta,
                                double value) {
  const double logit = value * p.logit_scale + p.bias[delta];
  return expf(static_cast<float>(logit - p.log_totals[view.rows + t]));
}

// The gradient of a cell's logit; `confidence`: of the row. Sum: as the logits of RowState.
template <class Sum>
ROSA_BLOCK_CODE Sum grad_logit_of(const ProxyArguments& p, const SegmentView& view, int64_t t, int64_t delta,
                                  float weight, float confidence) {
  Sum grad = 0;
  for (int64_t bit = 0; bit < p.value_bits; ++bit) {
    grad += static_cast<Sum>(view.grad_output[bit * view.pitch + t]) * view.value[bit * view.pitch + t - delta];
  }
  return weight * (grad * confidence - static_cast<Sum>(p.means[view.rows + t]));
}

// Adds what a tile gives to the gradients. grad_products: of <query[t], key[t-1-delta]>, 0 where there is no cell;
// weights: times the confidence, 0 where nothing is visible. Every sum here runs within the tile, then is added once.
template <class Block>
ROSA_BLOCK_CODE void add_gradients(Block& block, const ProxyArguments& p, const SegmentView& view, int64_t begin,
                                   int64_t strip, const Tile<float>& grad_products, const Tile<float>& weights) {
  const int64_t rows = smaller(kTileRows, view.length - begin);
  // Columns i = t - 1 - delta and j = t - delta that the tile touches: first_key + n, n < num_columns, and one more.
  const int64_t first_key = begin - strip - kBlockThreads, num_columns = kTileRows + kBlockThreads - 1;
  block.for_each_thread([&](int thread) {
    for (int64_t n = thread; view.grad_query != nullptr && n < kTileRows * p.query_bits; n += kBlockThreads) {
      const int64_t r = n % kTileRows, bit = n / kTileRows, t = begin + r;
      if (r >= rows) continue;
      double sum = 0;
      for (int64_t lane = 0; lane < kBlockThreads && strip + lane < t; ++lane) {
        sum += static_cast<double>(grad_products.values[r * kTilePitch + lane]) *
               view.key[bit * view.pitch + t - 1 - strip - lane];
      }
      block.add(&view.grad_query[bit * view.pitch + t], static_cast<float>(sum));
    }
    for (int64_t n = thread; view.grad_key != nullptr && n < num_columns * p.query_bits; n += kBlockThreads) {
      const int64_t i = first_key + n % num_columns, bit = n / num_columns;
      if (i < 0 || i >= view.length) continue;
      const int64_t first = begin - 1 - i - strip;  // the lane in row 0
      float sum = 0;
      for (int64_t r = larger(0, -first); r < rows && first + r < kBlockThreads; ++r) {
        sum += grad_products.values[r * kTilePitch + first + r] * view.query[bit * view.pitch + begin + r];
      }
      block.add(&view.grad_key[bit * view.pitch + i], sum);
    }
    for (int64_t n = thread; view.grad_value != nullptr && n < num_columns * p.value_bits; n += kBlockThreads) {
      const int64_t j = first_key + 1 + n % num_columns, bit = n / num_columns;
      if (j < 0 || j >= view.length) continue;
      const int64_t first = begin - j - strip;
      float sum = 0;
      for (int64_t r = larger(0, -first); r < rows && first + r < kBlockThreads; ++r) {
        sum += weights.values[r * kTilePitch + first + r] * view.grad_output[bit * view.pitch + begin + r];
      }
      block.add(&view.grad_value[bit * view.pitch + j], sum);
    }
  });
}

}  // namespace rosa::kernels
