#include "rosa/operator/proxies.h"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "rosa/kernels/dense_surrogate.h"
#include "rosa/operator/document_runs.h"
#include "rosa/operator/fused_device.h"
#include "rosa/operator/fused_proxies.h"

namespace rosa {
namespace {

using at::indexing::Slice;

// Cells (batch x heads x T x T) that one block of the composition may hold at once.
constexpr int64_t kBlockCells = int64_t{1} << 21;

at::ScalarType compute_dtype(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// Repeats each key/value head for the query heads that read it.
at::Tensor widen_heads(const at::Tensor& tensor, int64_t heads) {
  return tensor.size(1) == heads ? tensor : tensor.repeat_interleave(heads / tensor.size(1), 1);
}

// [T,T] bool: what the proxy may see, j <= t and, with a sliding window, j > t - window.
at::Tensor visible_cells(int64_t length, const OperatorOptions& options, at::Device device) {
  const at::Tensor causal = at::ones({length, length}, at::TensorOptions(at::kBool).device(device)).tril();
  if (options.proxy_mask == ProxyMask::causal || options.sliding_window >= length) return causal;
  return causal.logical_and(causal.triu(1 - options.sliding_window));
}

// Column block w holds the rows shifted down by `shift` + w; rows that would come from before the start are 0.
at::Tensor concatenate_earlier_rows(const at::Tensor& rows, int64_t num_rows, int64_t shift) {
  const int64_t length = rows.size(2);
  const at::Tensor padded = at::constant_pad_nd(rows, {0, 0, num_rows - 1 + shift, 0});
  std::vector<at::Tensor> parts;
  for (int64_t w = 0; w < num_rows; ++w) parts.push_back(padded.narrow(2, num_rows - 1 - w, length));
  return at::cat(parts, 3);
}

// The logarithmic bias b at distances x >= 1.
at::Tensor log_bias(const at::Tensor& x) { return (1 - x.log().clamp_min(1) / std::log(kPositionScale)).clamp_min(0); }

// [T,T]: SUFA's position bias. Above the diagonal it means nothing.
at::Tensor sufa_bias(int64_t length, const OperatorOptions& options, const at::TensorOptions& tensor_options) {
  const at::Tensor position = at::arange(length, tensor_options);
  if (options.position_bias == PositionBias::log) {
    return log_bias((position.unsqueeze(1) - position.unsqueeze(0) + 1).clamp_min(1));
  }
  return ((position.unsqueeze(0) - position.unsqueeze(1) - 1) / kPositionScale).exp();
}

// What both forms of SUFA begin with; one document a batch row. With the logarithmic bias column j is key j and carries
// value j + 1; else it is key j - 1 and carries value j.
struct WidenedRows {
  WidenedRows(const OperatorInput& input, const OperatorOptions& options) {
    const at::ScalarType dtype = compute_dtype(input.query);
    const int64_t heads = input.query.size(1), num_symbols = options.sufa_head_dim / input.query.size(3);
    const at::Tensor narrow_query = at::tanh(input.query.to(dtype) / options.bits_tau);
    const at::Tensor narrow_key = widen_heads(at::tanh(input.key.to(dtype) / options.bits_tau), heads);
    const bool is_log = options.position_bias == PositionBias::log;
    query = concatenate_earlier_rows(narrow_query, num_symbols, 0) * sufa_scale(options);
    key = concatenate_earlier_rows(narrow_key, num_symbols, is_log ? 0 : 1);
    value = widen_heads(at::sigmoid(input.value.to(dtype) / options.bits_tau), heads);
    if (is_log) value = at::constant_pad_nd(value, {0, 0, -1, 1});
  }

  at::Tensor query, key;  // [B,H,T,num_symbols * D], queries scaled
  at::Tensor value;       // [B,H,T,M]
};

// [T,T], or with the input's mask [1|B,1|H,T,T], bool: the columns that SUFA's rows see.
at::Tensor sufa_visible(const OperatorInput& input, const OperatorOptions& options) {
  at::Tensor visible = visible_cells(input.query.size(2), options, input.query.device());
  if (options.position_bias == PositionBias::log) visible = visible.tril(-1);
  return input.mask.defined() ? visible.logical_and(input.mask) : visible;
}

// Two factors of the exponential bias, as one more column of queries and keys: no [T,T] array. The logarithmic one has
// no such factors and is a [T,T] array for all heads. Padded to a multiple of 8 columns, which the attention kernels of
// GPUs want, as are the values, whose rows they want as wide as the queries'.
at::Tensor sufa_by_sdpa(const OperatorInput& input, const OperatorOptions& options) {
  WidenedRows rows(input, options);
  const int64_t length = rows.query.size(2), value_bits = rows.value.size(3);
  if (options.position_bias == PositionBias::exp) {
    const at::Tensor position = at::arange(length, rows.query.options());
    const auto column = [&](const at::Tensor& factor, const at::Tensor& beside) {
      return at::cat({beside, factor.view({1, 1, length, 1}).expand({beside.size(0), beside.size(1), length, 1})}, 3);
    };
    rows.query = column((-(position + 1) / kPositionScale).exp() / options.attn_tau, rows.query);
    rows.key = column((position / kPositionScale).exp(), rows.key);
  }
  const int64_t width = (std::max(rows.query.size(3), value_bits) + 7) / 8 * 8;
  for (at::Tensor* tensor : {&rows.query, &rows.key, &rows.value}) {
    *tensor = at::constant_pad_nd(*tensor, {0, width - tensor->size(3)});
  }
  const bool is_log = options.position_bias == PositionBias::log;
  const bool windowed = options.proxy_mask == ProxyMask::sliding_window && options.sliding_window < length;
  std::optional<at::Tensor> mask;
  at::Tensor empty;
  if (windowed || is_log || input.mask.defined()) {
    mask = sufa_visible(input, options);
    if (is_log || input.mask.defined()) {
      empty = mask->any(-1, true).logical_not();
      mask = mask->logical_or(empty);
    }
    if (is_log) {
      mask = (sufa_bias(length, options, rows.query.options()) / options.attn_tau)
                 .masked_fill(mask->logical_not(), -std::numeric_limits<double>::infinity());
    }
  }
  at::Tensor output = at::scaled_dot_product_attention(rows.query, rows.key, rows.value, mask, 0.0, !mask, 1.0);
  if (empty.defined()) output = output.masked_fill(empty, 0);
  return output.narrow(3, 0, value_bits);
}

// One document a batch row.
at::Tensor sufa(const OperatorInput& input, const OperatorOptions& options) {
  const WidenedRows rows(input, options);
  const int64_t length = rows.query.size(2);
  at::Tensor scores = at::matmul(rows.query, rows.key.transpose(2, 3));
  if (options.position_bias != PositionBias::none) {
    scores = scores + sufa_bias(length, options, rows.query.options()) / options.attn_tau;
  }
  const at::Tensor visible = sufa_visible(input, options);
  scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  // A row without any visible cell would be NaN: it gives 0, in the output and in the gradient.
  const at::Tensor empty = visible.any(-1, true).logical_not();
  const at::Tensor weights = at::softmax(scores.masked_fill(empty, 0), -1).masked_fill(empty, 0);
  return at::matmul(weights, rows.value);
}

// [T,T] int64: entry (t, delta) is the column t - delta, clamped to 0 where there is none.
at::Tensor diagonal_columns(int64_t length, at::Device device) {
  const at::Tensor position = at::arange(length, at::TensorOptions(at::kLong).device(device));
  return (position.unsqueeze(1) - position.unsqueeze(0)).clamp_min(0);
}

// One document a batch row. Works on diagonals: column delta of a skewed matrix holds the cells (t, t - delta).
at::Tensor soft_rosa(const OperatorInput& input, const OperatorOptions& options) {
  const at::ScalarType dtype = compute_dtype(input.query);
  const int64_t heads = input.query.size(1), length = input.query.size(2), num_bits = input.query.size(3);
  const at::Tensor query = at::tanh(input.query.to(dtype) / options.bits_tau);
  const at::Tensor key = widen_heads(at::tanh(input.key.to(dtype) / options.bits_tau), heads);
  const at::Tensor value = widen_heads(at::sigmoid(input.value.to(dtype) / options.bits_tau), heads);
  const double offset = static_cast<double>(num_bits - 1) * (1 - options.bits_tau);
  const at::Tensor agreement = at::sigmoid((at::matmul(query, key.transpose(2, 3)) - offset) / options.bits_tau);
  at::Tensor visible = visible_cells(length, options, query.device()).tril(-1);
  if (input.mask.defined()) visible = visible.logical_and(input.mask);
  const at::Tensor masked = agreement.masked_fill(visible.logical_not(), 0);

  const at::Tensor columns = diagonal_columns(length, query.device());
  const at::Tensor exists = at::ones({length, length}, at::TensorOptions(at::kBool).device(query.device())).tril();
  const at::Tensor skewed =
      masked.gather(3, columns.expand_as(masked)).masked_fill(exists.logical_not(), 0);  // (t, delta)
  const at::Tensor total = skewed.cumsum(2);
  const at::Tensor best = std::get<0>((total * (1 - skewed)).cummax(2));
  // S(t, t - delta) = s(t, t - delta - 1): one diagonal further, and 0 where j = 0.
  const at::Tensor run = at::constant_pad_nd((total - best).narrow(3, 1, length - 1), {0, 1});
  const at::Tensor confidence = run.amax(-1, true).clamp(0, 1);
  const at::Tensor delta = at::arange(length, query.options());
  const at::Tensor bias = options.position_bias == PositionBias::exp   ? (-(delta + 1) / kPositionScale).exp()
                          : options.position_bias == PositionBias::log ? log_bias(delta + 2)
                                                                       : at::zeros_like(delta);
  const at::Tensor logits =
      ((run + bias) / options.attn_tau).masked_fill(exists.logical_not(), -std::numeric_limits<double>::infinity());
  // The weights go back to columns j; the map delta -> t - delta is its own inverse.
  const at::Tensor weights = at::softmax(logits, -1);
  const at::Tensor by_column = weights.gather(3, columns.expand_as(weights)).masked_fill(exists.logical_not(), 0);
  return confidence * at::matmul(by_column, value);
}

// Of the logits; 1 or -1, with the derivative of softsign.
at::Tensor signs(const at::Tensor& logits, const OperatorOptions& options) {
  const at::Tensor x = logits.to(compute_dtype(logits)) / options.bits_tau;
  const at::Tensor soft = x / (1 + x.abs());
  return at::where(x > 0, 1.0, -1.0).to(x.scalar_type()) + (soft - soft.detach());
}

// Entry (t, delta) becomes that of (t - count, delta), 0 in the first rows.
at::Tensor down_by(const at::Tensor& cells, int64_t count) {
  const int64_t length = cells.size(2), kept = std::max<int64_t>(length - count, 0);
  return at::constant_pad_nd(cells.narrow(2, 0, kept), {0, 0, length - kept, 0});
}

// One document a batch row. On diagonals, as soft ROSA; the window of 32 symbols by doubling.
at::Tensor dense_surrogate(const OperatorInput& input, const OperatorOptions& options) {
  const int64_t heads = input.query.size(1), length = input.query.size(2);
  const auto num_bits = static_cast<double>(input.query.size(3));
  const at::Tensor query = signs(input.query, options);
  const at::Tensor key = widen_heads(signs(input.key, options), heads);
  const at::Tensor value = widen_heads(signs(input.value, options), heads);
  const at::Tensor agreement = at::matmul(query, key.transpose(2, 3)) / num_bits;
  at::Tensor visible = visible_cells(length, options, query.device()).tril(-1).expand_as(agreement);
  if (input.mask.defined()) visible = visible.logical_and(input.mask);

  const at::Tensor columns = diagonal_columns(length, query.device()).expand_as(agreement);
  const at::Tensor exists = at::ones({length, length}, at::TensorOptions(at::kBool).device(query.device())).tril();
  const at::Tensor is_route = visible.gather(3, columns).logical_and(exists);  // (t, delta): i = t - delta, a = i + 1
  const at::Tensor match = ((agreement - 1) * (kernels::kMismatchScale / 2)).exp();
  at::Tensor product = match.gather(3, columns).masked_fill(is_route.logical_not(), 0), run = product;
  for (int64_t symbols = 1; symbols < kernels::kSurrogateSymbols; symbols *= 2) {
    run = run + product * down_by(run, symbols);
    product = product * down_by(product, symbols);
  }
  const at::Tensor utility = kernels::kUtilityScale * ((1 + run).sqrt() - 1) / options.attn_tau;
  const at::Tensor log_count = is_route.sum(-1, true).clamp_min(1).to(utility.scalar_type()).log();
  const at::Tensor logits =
      (utility - log_count).masked_fill(is_route.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor null_logit = at::full_like(logits.narrow(3, 0, 1), kernels::kNullUtility / options.attn_tau);
  const at::Tensor weights = at::softmax(at::cat({logits, null_logit}, 3), -1).narrow(3, 0, length);
  const at::Tensor by_column = weights.gather(3, columns).masked_fill(exists.logical_not(), 0);
  const at::Tensor carrier =
      at::matmul(by_column.narrow(3, 0, length - 1), value.narrow(2, 1, length - 1));  // cell i carries row i + 1
  return (1 + carrier) / 2;
}

at::Tensor one_block(Proxy proxy, const OperatorInput& block, const OperatorOptions& options) {
  if (proxy == Proxy::soft_rosa) return soft_rosa(block, options);
  if (proxy == Proxy::dense_surrogate) return dense_surrogate(block, options);
  return options.proxy_kernel == ProxyKernel::sdpa ? sufa_by_sdpa(block, options) : sufa(block, options);
}

// The part of `input` in batch row `row`, key/value heads [group, group + num_groups), positions [begin, end).
OperatorInput cut(const OperatorInput& input, int64_t row, int64_t group, int64_t num_groups, int64_t begin,
                  int64_t end) {
  const int64_t share = input.query.size(1) / input.key.size(1);
  const auto part = [&](const at::Tensor& tensor, int64_t first, int64_t count) {
    return tensor.narrow(0, row, 1).narrow(1, first, count).narrow(2, begin, end - begin);
  };
  OperatorInput block{part(input.query, group * share, num_groups * share),
                      part(input.key, group, num_groups),
                      part(input.value, group, num_groups),
                      {},
                      {}};
  if (input.mask.defined()) {
    const at::Tensor rows = input.mask.size(0) == 1 ? input.mask : input.mask.narrow(0, row, 1);
    const at::Tensor heads = rows.size(1) == 1 ? rows : rows.narrow(1, group * share, num_groups * share);
    block.mask = heads.narrow(2, begin, end - begin).narrow(3, begin, end - begin);
  }
  return block;
}

// Calls body(block, row, first head, number of heads, begin, end) for blocks that together cover the input; each is
// one document of one row, and some heads of it. The blocks depend on the shapes only.
template <class Body>
void for_each_block(const OperatorInput& input, const OperatorOptions& options, const Body& body) {
  const int64_t groups = input.key.size(1), share = input.query.size(1) / groups;
  for (int64_t row = 0; row < input.query.size(0); ++row) {
    for (const auto& [begin, end] : document_runs(input.documents, row, input.query.size(2))) {
      const int64_t cells = share * (end - begin) * (end - begin);
      const bool is_linear = options.proxy_kernel == ProxyKernel::sdpa;  // in memory: all heads at once
      const int64_t step = is_linear ? groups : std::clamp<int64_t>(kBlockCells / cells, 1, groups);
      for (int64_t group = 0; group < groups; group += step) {
        const int64_t count = std::min(step, groups - group);
        body(cut(input, row, group, count, begin, end), row, group, count, begin, end);
      }
    }
  }
}

at::Tensor block_of(const at::Tensor& whole, int64_t row, int64_t first_head, int64_t num_heads, int64_t begin,
                    int64_t end) {
  return whole.narrow(0, row, 1).narrow(1, first_head, num_heads).narrow(2, begin, end - begin);
}

// [B,H,T,bits] as a transposed view of a contiguous [B,T,H,bits].
at::Tensor empty_output(const OperatorInput& input, int64_t heads, int64_t bits, const at::TensorOptions& options) {
  return at::empty({input.query.size(0), input.query.size(2), heads, bits}, options).transpose(1, 2);
}

}  // namespace

at::Tensor proxy_composition(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  std::vector<at::Tensor> rows;
  for (int64_t row = 0; row < input.query.size(0); ++row) {
    std::vector<at::Tensor> documents;
    for (const auto& [begin, end] : document_runs(input.documents, row, input.query.size(2))) {
      documents.push_back(one_block(proxy, cut(input, row, 0, input.key.size(1), begin, end), options));
    }
    rows.push_back(at::cat(documents, 2));
  }
  return at::cat(rows, 0);
}

at::Tensor proxy_blocks_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  const at::NoGradGuard no_grad;
  const int64_t share = input.query.size(1) / input.key.size(1);
  at::Tensor output = empty_output(input, input.query.size(1), input.value.size(3),
                                   input.query.options().dtype(compute_dtype(input.query)));
  for_each_block(
      input, options,
      [&](const OperatorInput& block, int64_t row, int64_t group, int64_t count, int64_t begin, int64_t end) {
        block_of(output, row, group * share, count * share, begin, end).copy_(one_block(proxy, block, options));
      });
  return output;
}

std::array<at::Tensor, 3> proxy_blocks_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                                const at::Tensor& grad_output, const std::array<bool, 3>& needed) {
  const int64_t share = input.query.size(1) / input.key.size(1);
  const at::Tensor* const inputs[] = {&input.query, &input.key, &input.value};
  std::array<at::Tensor, 3> gradients;
  for (size_t i = 0; i < 3; ++i) {
    if (needed[i]) gradients[i] = empty_output(input, inputs[i]->size(1), inputs[i]->size(3), inputs[i]->options());
  }
  for_each_block(input, options,
                 [&](OperatorInput block, int64_t row, int64_t group, int64_t count, int64_t begin, int64_t end) {
                   const at::AutoGradMode grad_mode(true);
                   at::Tensor* const parts[] = {&block.query, &block.key, &block.value};
                   std::vector<at::Tensor> leaves;
                   for (size_t i = 0; i < 3; ++i) {
                     *parts[i] = parts[i]->detach();
                     if (needed[i]) leaves.push_back(parts[i]->requires_grad_());
                   }
                   const at::Tensor output = one_block(proxy, block, options);
                   const at::Tensor upstream =
                       block_of(grad_output, row, group * share, count * share, begin, end).to(output.scalar_type());
                   const auto block_gradients = torch::autograd::grad({output}, leaves, {upstream});
                   const at::NoGradGuard no_grad;
                   auto next = block_gradients.begin();
                   for (size_t i = 0; i < 3; ++i) {
                     if (!needed[i]) continue;
                     const int64_t ratio = i == 0 ? share : 1;
                     block_of(gradients[i], row, group * ratio, count * ratio, begin, end).copy_(*next++);
                   }
                 });
  return gradients;
}

at::Tensor proxy_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  const at::NoGradGuard no_grad;
  const bool has_fused_form = proxy != Proxy::dense_surrogate;
  if (has_fused_form && can_fuse(proxy, input, options)) return fused_forward(proxy, input, options);
  if (has_fused_form && can_fuse_on_device(proxy, input, options)) {
    return device_fused_forward(proxy, input, options, device_launcher(input.query.device()));
  }
  return proxy_blocks_forward(proxy, input, options);
}

std::array<at::Tensor, 3> proxy_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed) {
  const at::NoGradGuard no_grad;
  if (can_fuse(proxy, input, options)) return fused_backward(proxy, input, options, grad_output, needed);
  if (can_fuse_on_device(proxy, input, options)) {
    return device_fused_backward(proxy, input, options, grad_output, needed, device_launcher(input.query.device()));
  }
  return proxy_blocks_backward(proxy, input, options, grad_output, needed);
}

}  // namespace rosa
