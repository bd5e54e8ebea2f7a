// The arithmetic of soft_rosa.h, on proxy_simd.h.
//
// A cell (t,i) lies on diagonal delta = t - 1 - i, so that S(t, t - delta) is the run s of its own cell. With the
// running sum c of the agreements a, and r the running maximum of c (1 - a), s = c - r obeys
//   s(t) = min(s(t-1) + a(t), c(t) a(t)),
// a run that goes on or begins anew: nothing is subtracted, so nothing cancels. c and s are float64: a saturated run
// grows by almost 1 a step, and at 65536 steps float32 would lose the differences that the softmax sees.
// Forward: rows in order, c and s of all diagonals side by side. Backward: a first pass over the rows finds what the
// softmax of each row needs (its maximum, total, ...), then strips of kSoftRosaStrip diagonals are walked up, keeping
// the agreement and the weight of each cell, and down again with the gradients. Memory O(T).
#pragma once

#include <cstddef>
#include <cstdint>

#include "rosa/kernels/proxy_simd.h"
#include "rosa/kernels/soft_rosa.h"

namespace rosa::kernels::ROSA_KERNEL_NAMESPACE {

// A vector's lanes in float64: two vectors, converted as one.
typedef double BothVecs __attribute__((vector_size(kLanes * 8)));
typedef double DoubleVec __attribute__((vector_size(kLanes * 4)));
typedef double UnalignedDoubleVec __attribute__((vector_size(kLanes * 4), aligned(8), may_alias));
struct Wide {
  DoubleVec parts[2];
};

ROSA_INLINE Wide widen(Vec value) { return __builtin_bit_cast(Wide, __builtin_convertvector(value, BothVecs)); }
ROSA_INLINE Vec narrow(const Wide& wide) { return __builtin_convertvector(__builtin_bit_cast(BothVecs, wide), Vec); }
ROSA_INLINE Wide load_wide(const double* from) {
  return {{*reinterpret_cast<const UnalignedDoubleVec*>(from),
           *reinterpret_cast<const UnalignedDoubleVec*>(from + kLanes / 2)}};
}
ROSA_INLINE void store_wide(double* to, const Wide& wide) {
  *reinterpret_cast<UnalignedDoubleVec*>(to) = wide.parts[0];
  *reinterpret_cast<UnalignedDoubleVec*>(to + kLanes / 2) = wide.parts[1];
}
ROSA_INLINE double max_of(DoubleVec value) {
  double best = value[0];
  for (int64_t i = 1; i < kLanes / 2; ++i) best = best > value[i] ? best : value[i];
  return best;
}

ROSA_INLINE double sum_of(DoubleVec value) {
  double sum = value[0];
  for (int64_t i = 1; i < kLanes / 2; ++i) sum += value[i];
  return sum;
}

// The agreement a of each lane's cell, exact at both ends: min(a, 1 - a), and whether a is the larger of the two.
struct Agreement {
  Vec smaller;
  IntVec is_large;

  __attribute__((always_inline)) Vec value() const { return is_large ? 1.0F - smaller : smaller; }
};

struct SoftRosaLayout {
  explicit SoftRosaLayout(const SoftRosaProblem& problem)
      : length(problem.length), distances(padded_length(length)), pitch(length + kSoftRosaStrip + padded_length(16)) {}

  int64_t length, distances;
  int64_t pitch;  // of the reversed arrays: room for reads beyond the valid distances
};

// The arrays that both directions need.
struct SoftRosaRows {
  SoftRosaRows(const SoftRosaProblem& problem, const SoftRosaLayout& layout, std::byte*& workspace) {
    totals = take<double>(workspace, layout.distances);
    runs = take<double>(workspace, layout.distances);
    logits = take<double>(workspace, layout.distances);
    keys = take<float>(workspace, problem.query_bits * layout.pitch);
    values = take<float>(workspace, problem.value_bits * layout.pitch);
  }

  double *totals, *runs;  // c and s of every diagonal at the present row
  double* logits;         // of the present row
  float *keys, *values;   // [bit][pitch], reversed in time
};

// `keys` at the first of the lanes' columns; `scaled`: the row's query times bits_scale.
template <int kBits>
ROSA_INLINE Agreement agreement_of(const SoftRosaProblem& problem, const float* scaled, const float* keys,
                                   int64_t pitch) {
  const int64_t bits = kBits > 0 ? kBits : problem.query_bits;
  Vec logit = scaled[0] * load(keys) - problem.bits_offset;
  for (int64_t bit = 1; bit < bits; ++bit) logit += scaled[bit] * load(keys + bit * pitch);
  const IntVec is_large = logit > 0.0F;
  const Vec power = exp_of(is_large ? -logit : logit);
  return {power / (1.0F + power), is_large};
}

ROSA_INLINE Agreement no_agreement_beyond(int64_t count, const Agreement& agreement) {
  const IntVec below = lanes_below(count);
  return {below ? agreement.smaller : Vec{}, below & agreement.is_large};
}

// One step along each lane's diagonal. Returns the new runs; `anew`: 1 in the lanes whose run began anew, else 0.
ROSA_INLINE Wide advance(const Wide& agreement, double* totals, double* runs, Wide& anew) {
  Wide total = load_wide(totals), run = load_wide(runs);
  for (int half = 0; half < 2; ++half) {
    total.parts[half] += agreement.parts[half];
    const DoubleVec longer = run.parts[half] + agreement.parts[half];
    const DoubleVec begun = total.parts[half] * agreement.parts[half];
    anew.parts[half] = begun < longer ? DoubleVec{} + 1.0 : DoubleVec{};
    run.parts[half] = begun < longer ? begun : longer;
  }
  store_wide(totals, total);
  store_wide(runs, run);
  return run;
}

ROSA_INLINE Wide logits_of(const SoftRosaProblem& problem, const Wide& runs, const float* bias) {
  Wide logits = widen(load(bias));
  for (int half = 0; half < 2; ++half) logits.parts[half] += runs.parts[half] * problem.logit_scale;
  return logits;
}

// What the softmax of one row gives.
struct RowSoftmax {
  double best_logit, best_run;
  float inverse;  // of the total of the weights exp(logit - best_logit)
};

ROSA_INLINE float confidence_of(const RowSoftmax& softmax) {
  return softmax.best_run < 1 ? static_cast<float>(softmax.best_run) : 1.0F;
}

// Takes every diagonal to row t and writes the row's logits. Fills best_logit and best_run.
template <int kBits>
ROSA_INLINE RowSoftmax advance_row(const SoftRosaProblem& problem, const SoftRosaLayout& layout,
                                   const SoftRosaRows& rows, const float* query, int64_t t) {
  const int64_t bits = kBits > 0 ? kBits : problem.query_bits;
  const int64_t cells = smaller(t, problem.max_distance - 1), count = num_vecs(t + 1);
  float scaled[64];
  for (int64_t bit = 0; bit < bits; ++bit) scaled[bit] = query[bit] * problem.bits_scale;
  DoubleVec best_logit = DoubleVec{} - 1e300, best_run = DoubleVec{};
  for (int64_t e = 0; e < count; ++e) {
    const int64_t first = e * kLanes;
    Wide run{};
    if (first < cells) {
      Agreement agreement = agreement_of<kBits>(problem, scaled, rows.keys + layout.length - t + first, layout.pitch);
      if (first + kLanes > cells) agreement = no_agreement_beyond(cells - first, agreement);
      Wide anew;
      run = advance(widen(agreement.value()), rows.totals + first, rows.runs + first, anew);
    }
    Wide logits = logits_of(problem, run, problem.bias + first);
    store_wide(rows.logits + first, logits);
    if (first + kLanes > t + 1) {
      for (int64_t delta = t + 1; delta < first + kLanes; ++delta) rows.logits[delta] = -1e300;
      logits = load_wide(rows.logits + first);
    }
    for (int half = 0; half < 2; ++half) {
      best_logit = best_logit > logits.parts[half] ? best_logit : logits.parts[half];
      best_run = best_run > run.parts[half] ? best_run : run.parts[half];
    }
  }
  return {max_of(best_logit), max_of(best_run), 0};
}

// mixed[m] = the softmax's mean of value bit m in row t. Fills `inverse`.
template <int kBits>
ROSA_INLINE void mix_values(const SoftRosaProblem& problem, const SoftRosaLayout& layout, const SoftRosaRows& rows,
                            int64_t t, RowSoftmax& softmax, float* mixed) {
  const int64_t bits = kBits > 0 ? kBits : problem.value_bits;
  const float* values = rows.values + layout.length - 1 - t;
  Vec total = Vec{};
  Vec sums[kBits > 0 ? kBits : 64];
  for (int64_t bit = 0; bit < bits; ++bit) sums[bit] = Vec{};
  for (int64_t e = 0; e < num_vecs(t + 1); ++e) {
    Wide logits = load_wide(rows.logits + e * kLanes);
    for (DoubleVec& part : logits.parts) part -= softmax.best_logit;
    const Vec weight = exp_of(narrow(logits));  // beyond t: 2e-38
    total += weight;
    for (int64_t bit = 0; bit < bits; ++bit) sums[bit] += weight * load(values + bit * layout.pitch + e * kLanes);
  }
  softmax.inverse = 1.0F / sum_of(total);
  for (int64_t bit = 0; bit < bits; ++bit) mixed[bit] = sum_of(sums[bit]) * softmax.inverse;
}

ROSA_INLINE void zero_wide(double* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) to[i] = 0;
}

template <int kQueryBits, int kValueBits>
void soft_rosa_forward_of(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                          std::byte* workspace) {
  const SoftRosaLayout layout(problem);
  const SoftRosaRows rows(problem, layout, workspace);
  reverse_rows(key, problem.query_bits, layout.length, layout.pitch, rows.keys);
  reverse_rows(value, problem.value_bits, layout.length, layout.pitch, rows.values);
  for (int64_t head = 0; head < problem.num_heads; ++head) {
    zero_wide(rows.totals, layout.distances);
    zero_wide(rows.runs, layout.distances);
    for (int64_t t = 0; t < layout.length; ++t) {
      const float* row = query.data + head * query.head_stride + t * query.row_stride;
      float* to = output.data + head * output.head_stride + t * output.row_stride;
      RowSoftmax softmax = advance_row<kQueryBits>(problem, layout, rows, row, t);
      mix_values<kValueBits>(problem, layout, rows, t, softmax, to);
      for (int64_t bit = 0; bit < problem.value_bits; ++bit) to[bit] *= confidence_of(softmax);
    }
  }
}

// The arrays of the backward besides.
struct SoftRosaBackwardArrays {
  SoftRosaBackwardArrays(const SoftRosaProblem& problem, const SoftRosaLayout& layout, std::byte*& workspace) {
    best_logits = take<double>(workspace, layout.length);
    means = take<double>(workspace, layout.length);
    grad_queries = take<double>(workspace, layout.length * problem.query_bits);
    inverses = take<float>(workspace, layout.length);
    confidences = take<float>(workspace, layout.length);
    grad_best_runs = take<float>(workspace, layout.length);
    best_distances = take<int32_t>(workspace, layout.length);
    grad_keys = take<float>(workspace, problem.query_bits * layout.pitch);
    grad_values = take<float>(workspace, problem.value_bits * layout.pitch);
    agreements = take<float>(workspace, layout.length * kSoftRosaStrip);
    weights = take<float>(workspace, layout.length * kSoftRosaStrip);
  }

  // Of each row: the softmax's largest logit and the inverse of its total; the mean of the gradients of the weights,
  // before the confidence; the confidence; the gradient of the largest run, and where that is.
  double *best_logits, *means;
  float *inverses, *confidences, *grad_best_runs;
  double* grad_queries;  // [t][bit], of one head
  int32_t* best_distances;
  float *grad_keys, *grad_values;  // [bit][pitch], reversed in time
  float *agreements, *weights;     // [t][kSoftRosaStrip]; signs: see walk_up
};

// The gradients of the weights of a row: <its upstream gradient, values>. `values` at the first of the lanes'
// distances.
template <int kBits>
ROSA_INLINE Vec grad_weights_of(const SoftRosaProblem& problem, const SoftRosaLayout& layout, const float* upstream,
                                const float* values) {
  const int64_t bits = kBits > 0 ? kBits : problem.value_bits;
  Vec grad = upstream[0] * load(values);
  for (int64_t bit = 1; bit < bits; ++bit) grad += upstream[bit] * load(values + bit * layout.pitch);
  return grad;
}

// The softmax's mean of the gradients of its weights in row t. Fills `inverse`. In float64, because
// the sums along the diagonals multiply whatever error the gradients of a row's logits have in sum.
template <int kBits>
ROSA_INLINE double mean_gradient(const SoftRosaProblem& problem, const SoftRosaLayout& layout, const SoftRosaRows& rows,
                                 int64_t t, const float* upstream, RowSoftmax& softmax) {
  const float* values = rows.values + layout.length - 1 - t;
  Wide total{}, weighted{};
  for (int64_t e = 0; e < num_vecs(t + 1); ++e) {
    Wide logits = load_wide(rows.logits + e * kLanes);
    for (DoubleVec& part : logits.parts) part -= softmax.best_logit;
    const Vec weight = exp_of(narrow(logits));  // beyond t: 2e-38
    const Wide weights = widen(weight);
    const Wide grads = widen(grad_weights_of<kBits>(problem, layout, upstream, values + e * kLanes));
    for (int half = 0; half < 2; ++half) {
      total.parts[half] += weights.parts[half];
      weighted.parts[half] += weights.parts[half] * grads.parts[half];
    }
  }
  const double sum = sum_of(total.parts[0] + total.parts[1]);
  softmax.inverse = static_cast<float>(1 / sum);
  return sum_of(weighted.parts[0] + weighted.parts[1]) / sum;
}

// First pass of the backward: everything about the rows of one head.
template <int kQueryBits, int kValueBits>
void find_row_softmax(const SoftRosaProblem& problem, const SoftRosaLayout& layout, const SoftRosaRows& rows,
                      const SoftRosaBackwardArrays& arrays, const float* query, int64_t query_stride,
                      const float* grad_output, int64_t grad_stride) {
  zero_wide(rows.totals, layout.distances);
  zero_wide(rows.runs, layout.distances);
  for (int64_t t = 0; t < layout.length; ++t) {
    RowSoftmax softmax = advance_row<kQueryBits>(problem, layout, rows, query + t * query_stride, t);
    const double mean = mean_gradient<kValueBits>(problem, layout, rows, t, grad_output + t * grad_stride, softmax);
    arrays.best_logits[t] = softmax.best_logit;
    arrays.inverses[t] = softmax.inverse;
    arrays.means[t] = mean;
    arrays.confidences[t] = confidence_of(softmax);
    arrays.grad_best_runs[t] = softmax.best_run <= 1 ? static_cast<float>(mean) : 0.0F;
    int64_t distance = 0;
    while (distance < t && rows.runs[distance] != softmax.best_run) ++distance;
    arrays.best_distances[t] = static_cast<int32_t>(distance);
  }
}

// What the walks along one strip of diagonals share.
struct Strip {
  int64_t begin;  // the first diagonal's delta
  int64_t count;  // vectors
  double totals[kSoftRosaStrip], runs[kSoftRosaStrip];
  double grad_totals[kSoftRosaStrip], grad_runs[kSoftRosaStrip];
};

// Keeps min(a, 1 - a) of each cell, negative where a is the larger, and the weight times the row's confidence, negative
// where the run began anew.
template <int kBits>
ROSA_INLINE void walk_up(const SoftRosaProblem& problem, const SoftRosaLayout& layout, const SoftRosaRows& rows,
                         const SoftRosaBackwardArrays& arrays, const float* query, int64_t query_stride, Strip& strip) {
  const int64_t bits = kBits > 0 ? kBits : problem.query_bits;
  float scaled[64];
  for (int64_t t = strip.begin; t < layout.length; ++t) {
    const int64_t cells = smaller(t, problem.max_distance - 1) - strip.begin, seen = t + 1 - strip.begin;
    for (int64_t bit = 0; bit < bits; ++bit) scaled[bit] = query[t * query_stride + bit] * problem.bits_scale;
    const float* keys = rows.keys + layout.length - t + strip.begin;
    const float weight_scale = arrays.inverses[t] * arrays.confidences[t];
    for (int64_t e = 0; e < strip.count; ++e) {
      const int64_t first = e * kLanes;
      float* at = arrays.agreements + t * kSoftRosaStrip + first;
      Wide run{}, anew{};
      if (first < cells) {
        Agreement agreement = agreement_of<kBits>(problem, scaled, keys + first, layout.pitch);
        if (first + kLanes > cells) agreement = no_agreement_beyond(cells - first, agreement);
        run = advance(widen(agreement.value()), strip.totals + first, strip.runs + first, anew);
        store(at, agreement.is_large ? -agreement.smaller : agreement.smaller);
      } else {
        store(at, Vec{});
      }
      Wide logits = logits_of(problem, run, problem.bias + strip.begin + first);
      for (DoubleVec& part : logits.parts) part -= arrays.best_logits[t];
      Vec weight = exp_of(narrow(logits)) * weight_scale;
      if (first + kLanes > seen) weight = lanes_below(seen - first) ? weight : Vec{};
      store(arrays.weights + t * kSoftRosaStrip + first, narrow(anew) > 0.5F ? -weight : weight);
    }
  }
}

// One step down: the gradient of the agreements, given that of the runs of this row. `anew`: 1 or 0.
ROSA_INLINE Wide step_down(Vec agreement, Vec anew, const Wide& grad_row, Strip& strip, int64_t first) {
  const Wide a = widen(agreement), begun = widen(anew);
  Wide total = load_wide(strip.totals + first), grad_total = load_wide(strip.grad_totals + first);
  Wide grad_run = load_wide(strip.grad_runs + first), grad_agreement;
  for (int half = 0; half < 2; ++half) {
    const DoubleVec grad = grad_run.parts[half] + grad_row.parts[half];
    const DoubleVec grad_begun = grad * begun.parts[half];  // of c a
    grad_run.parts[half] = grad - grad_begun;               // of the run before
    grad_total.parts[half] += grad_begun * a.parts[half];
    grad_agreement.parts[half] = grad_total.parts[half] + grad_begun * total.parts[half] + grad_run.parts[half];
    total.parts[half] -= a.parts[half];
  }
  store_wide(strip.totals + first, total);
  store_wide(strip.grad_totals + first, grad_total);
  store_wide(strip.grad_runs + first, grad_run);
  return grad_agreement;
}

// One row of the walk down: what the strip's cells give to the gradients. grad_query: this row's before bits_scale, or
// null. Strips' sums can be much larger than what is left of them in the end: hence float64.
template <int kQueryBits, int kValueBits>
ROSA_INLINE void walk_down_row(const SoftRosaProblem& problem, const SoftRosaLayout& layout, const SoftRosaRows& rows,
                               const SoftRosaBackwardArrays& arrays, const float* query, const float* upstream,
                               int64_t t, bool want_values, double* grad_query, Strip& strip) {
  const int64_t bits = kQueryBits > 0 ? kQueryBits : problem.query_bits;
  const int64_t value_bits = kValueBits > 0 ? kValueBits : problem.value_bits;
  const int64_t cells = smaller(t, problem.max_distance - 1) - strip.begin;
  const int64_t used = smaller(strip.count, num_vecs(t + 1 - strip.begin));
  const int64_t at_key = layout.length - t + strip.begin;
  float scaled[64];
  for (int64_t bit = 0; bit < bits; ++bit) scaled[bit] = query[bit] * problem.bits_scale;
  Wide sums[kQueryBits > 0 ? kQueryBits : 64];
  for (int64_t bit = 0; bit < bits; ++bit) sums[bit] = Wide{};
  for (int64_t e = 0; e < used; ++e) {
    const int64_t first = e * kLanes, cell = t * kSoftRosaStrip + first, at_value = at_key - 1 + first;
    const Vec signed_weight = load(arrays.weights + cell);
    const IntVec is_anew = (IntVec)signed_weight < 0;
    const Vec weight = is_anew ? -signed_weight : signed_weight;
    for (int64_t bit = 0; want_values && bit < value_bits; ++bit) {
      float* to = arrays.grad_values + bit * layout.pitch + at_value;
      store(to, load(to) + upstream[bit] * weight);
    }
    if (grad_query == nullptr || first >= cells) continue;
    const Vec signed_smaller = load(arrays.agreements + cell);
    const IntVec is_large = (IntVec)signed_smaller < 0;
    const Vec low = is_large ? -signed_smaller : signed_smaller;
    Wide grad_run = widen(grad_weights_of<kValueBits>(problem, layout, upstream, rows.values + at_value));
    const Wide weights = widen(weight);
    for (int half = 0; half < 2; ++half) {
      grad_run.parts[half] = (grad_run.parts[half] - arrays.means[t]) * weights.parts[half] * problem.logit_scale;
    }
    Wide grad_logits = step_down(is_large ? 1.0F - low : low, is_anew ? Vec{} + 1.0F : Vec{}, grad_run, strip, first);
    const Wide slopes = widen(low * (1.0F - low));
    for (int half = 0; half < 2; ++half) grad_logits.parts[half] *= slopes.parts[half];
    const Vec grad_logit = narrow(grad_logits);
    for (int64_t bit = 0; bit < bits; ++bit) {
      const int64_t offset = bit * layout.pitch + at_key + first;
      const Wide keys = widen(load(rows.keys + offset));
      for (int half = 0; half < 2; ++half) sums[bit].parts[half] += grad_logits.parts[half] * keys.parts[half];
      store(arrays.grad_keys + offset, load(arrays.grad_keys + offset) + scaled[bit] * grad_logit);
    }
  }
  if (grad_query == nullptr) return;
  for (int64_t bit = 0; bit < bits; ++bit) grad_query[bit] += sum_of(sums[bit].parts[0] + sums[bit].parts[1]);
}

template <int kQueryBits, int kValueBits>
void soft_rosa_backward_of(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                           ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value,
                           std::byte* workspace) {
  const SoftRosaLayout layout(problem);
  const SoftRosaRows rows(problem, layout, workspace);
  const SoftRosaBackwardArrays arrays(problem, layout, workspace);
  reverse_rows(key, problem.query_bits, layout.length, layout.pitch, rows.keys);
  reverse_rows(value, problem.value_bits, layout.length, layout.pitch, rows.values);
  zero(arrays.grad_keys, problem.query_bits * layout.pitch);
  zero(arrays.grad_values, problem.value_bits * layout.pitch);
  for (int64_t head = 0; head < problem.num_heads; ++head) {
    const float* head_query = query.data + head * query.head_stride;
    const bool want_query = grad_query.data != nullptr;
    find_row_softmax<kQueryBits, kValueBits>(problem, layout, rows, arrays, head_query, query.row_stride,
                                             grad_output.data + head * grad_output.head_stride, grad_output.row_stride);
    zero_wide(arrays.grad_queries, want_query ? layout.length * problem.query_bits : 0);
    for (int64_t begin = 0; begin < layout.length; begin += kSoftRosaStrip) {
      Strip strip{begin, smaller(kSoftRosaStrip, layout.distances - begin) / kLanes, {}, {}, {}, {}};
      walk_up<kQueryBits>(problem, layout, rows, arrays, head_query, query.row_stride, strip);
      for (int64_t t = layout.length - 1; t >= begin; --t) {
        const int64_t best = arrays.best_distances[t] - begin;
        if (best >= 0 && best < kSoftRosaStrip) strip.grad_runs[best] += arrays.grad_best_runs[t];
        walk_down_row<kQueryBits, kValueBits>(
            problem, layout, rows, arrays, head_query + t * query.row_stride,
            grad_output.data + head * grad_output.head_stride + t * grad_output.row_stride, t,
            grad_value.data != nullptr, want_query ? arrays.grad_queries + t * problem.query_bits : nullptr, strip);
      }
    }
    for (int64_t t = 0; want_query && t < layout.length; ++t) {
      for (int64_t bit = 0; bit < problem.query_bits; ++bit) {
        grad_query.data[head * grad_query.head_stride + t * grad_query.row_stride + bit] =
            static_cast<float>(arrays.grad_queries[t * problem.query_bits + bit] * problem.bits_scale);
      }
    }
  }
  if (grad_key.data != nullptr) {
    unreverse_rows(arrays.grad_keys, problem.query_bits, layout.length, layout.pitch, grad_key);
  }
  if (grad_value.data != nullptr) {
    unreverse_rows(arrays.grad_values, problem.value_bits, layout.length, layout.pitch, grad_value);
  }
}

// The common sizes have their own code, in which the loops over bits are unrolled.
void soft_rosa_forward(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value, Rows output,
                       std::byte* workspace) {
  const int64_t bits = problem.query_bits == problem.value_bits ? problem.query_bits : 0;
  const auto run = bits == 8   ? soft_rosa_forward_of<8, 8>
                   : bits == 4 ? soft_rosa_forward_of<4, 4>
                   : bits == 1 ? soft_rosa_forward_of<1, 1>
                               : soft_rosa_forward_of<0, 0>;
  run(problem, query, key, value, output, workspace);
}

void soft_rosa_backward(const SoftRosaProblem& problem, ConstRows query, ConstRows key, ConstRows value,
                        ConstRows grad_output, Rows grad_query, Rows grad_key, Rows grad_value, std::byte* workspace) {
  const int64_t bits = problem.query_bits == problem.value_bits ? problem.query_bits : 0;
  const auto run = bits == 8   ? soft_rosa_backward_of<8, 8>
                   : bits == 4 ? soft_rosa_backward_of<4, 4>
                   : bits == 1 ? soft_rosa_backward_of<1, 1>
                               : soft_rosa_backward_of<0, 0>;
  run(problem, query, key, value, grad_output, grad_query, grad_key, grad_value, workspace);
}

}  // namespace rosa::kernels::ROSA_KERNEL_NAMESPACE
