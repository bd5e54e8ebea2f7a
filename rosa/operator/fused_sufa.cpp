#include "rosa/operator/fused_sufa.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "rosa/kernels/sufa.h"
#include "rosa/operator/document_runs.h"
#include "rosa/operator/proxies.h"

namespace rosa {
namespace {

// The kernel wants the bits of a row side by side.
at::Tensor dense_rows(const at::Tensor& tensor) {
  return tensor.size(3) == 1 || tensor.stride(3) == 1 ? tensor : tensor.contiguous();
}

// What forward and backward share: the kernel's inputs, and the work as a list of pieces.
struct Prepared {
  Prepared(const OperatorInput& input, const OperatorOptions& options)
      : share(input.query.size(1) / input.key.size(1)),
        query(dense_rows(at::tanh(input.query.to(at::kFloat) / options.bits_tau))),
        key(dense_rows(at::tanh(input.key.to(at::kFloat) / options.bits_tau))),
        value(dense_rows(at::sigmoid(input.value.to(at::kFloat) / options.bits_tau))) {
    const int64_t length = query.size(2);
    bias.assign(kernels::padded_length(length), 0.0F);
    for (int64_t delta = 0; options.position_bias && delta < length; ++delta) {
      bias[delta] = static_cast<float>(std::exp(-static_cast<double>(delta + 1) / kPositionScale) / options.attn_tau);
    }
    problem.num_heads = share;
    problem.length = length;
    problem.query_bits = query.size(3);
    problem.value_bits = value.size(3);
    problem.num_symbols = options.sufa_head_dim / query.size(3);
    problem.max_distance = options.proxy_mask == ProxyMask::sliding_window ? options.sliding_window : length;
    problem.scale =
        static_cast<float>(1.0 / (options.attn_tau * std::sqrt(static_cast<double>(options.sufa_head_dim))));
    problem.bias = bias.data();
    for (int64_t row = 0; row < query.size(0); ++row) runs.push_back(document_runs(input.documents, row, length));
  }

  // Calls body(problem of the document, row, group, first position, workspace) for every document of every row and
  // key/value head.
  template <class Body>
  void for_each_piece(const Body& body) const {
    const int64_t groups = key.size(1);
    at::parallel_for(0, query.size(0) * groups, 1, [&](int64_t first, int64_t last) {
      const std::unique_ptr<float[]> workspace(new float[kernels::sufa_workspace_size(problem)]);
      for (int64_t piece = first; piece < last; ++piece) {
        for (const auto& [begin, end] : runs[piece / groups]) {
          kernels::SufaProblem document = problem;
          document.length = end - begin;
          body(document, piece / groups, piece % groups, begin, workspace.get());
        }
      }
    });
  }

  int64_t share;  // query heads of a key/value head
  at::Tensor query, key, value;
  std::vector<float> bias;
  kernels::SufaProblem problem;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> runs;
};

int64_t offset_of(const at::Tensor& tensor, int64_t row, int64_t head, int64_t position) {
  return row * tensor.stride(0) + head * tensor.stride(1) + position * tensor.stride(2);
}

kernels::ConstRows const_rows(const at::Tensor& tensor, int64_t row, int64_t head, int64_t position) {
  return {tensor.const_data_ptr<float>() + offset_of(tensor, row, head, position), tensor.stride(1), tensor.stride(2)};
}

kernels::Rows rows(const at::Tensor& tensor, int64_t row, int64_t head, int64_t position) {
  if (!tensor.defined()) return {};
  return {tensor.mutable_data_ptr<float>() + offset_of(tensor, row, head, position), tensor.stride(1),
          tensor.stride(2)};
}

// [B,H,T,bits] as a transposed view of a contiguous [B,T,H,bits].
at::Tensor empty_like_rows(const at::Tensor& rows, int64_t heads, int64_t bits) {
  return at::empty({rows.size(0), rows.size(2), heads, bits}, rows.options()).transpose(1, 2);
}

}  // namespace

bool can_fuse(const OperatorInput& input, const OperatorOptions& options) {
  return options.proxy == Proxy::sufa && input.query.is_cpu() && input.query.scalar_type() != at::kDouble &&
         !input.mask.defined();
}

at::Tensor fused_forward(const OperatorInput& input, const OperatorOptions& options) {
  const Prepared prepared(input, options);
  at::Tensor output = empty_like_rows(prepared.query, prepared.query.size(1), prepared.value.size(3));
  prepared.for_each_piece(
      [&](const kernels::SufaProblem& problem, int64_t row, int64_t group, int64_t begin, float* workspace) {
        const int64_t head = group * prepared.share;
        kernels::sufa_forward(problem, const_rows(prepared.query, row, head, begin),
                              const_rows(prepared.key, row, group, begin),
                              const_rows(prepared.value, row, group, begin), rows(output, row, head, begin), workspace);
      });
  return output;
}

std::array<at::Tensor, 3> fused_backward(const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed) {
  const Prepared prepared(input, options);
  const at::Tensor upstream = dense_rows(grad_output.to(at::kFloat));
  at::Tensor grad_query, grad_key, grad_value;
  if (needed[0] || needed[1]) {
    grad_query = empty_like_rows(prepared.query, prepared.query.size(1), prepared.query.size(3));
    grad_key = empty_like_rows(prepared.key, prepared.key.size(1), prepared.key.size(3));
  }
  if (needed[2]) grad_value = empty_like_rows(prepared.value, prepared.value.size(1), prepared.value.size(3));
  prepared.for_each_piece([&](const kernels::SufaProblem& problem, int64_t row, int64_t group, int64_t begin,
                              float* workspace) {
    const int64_t head = group * prepared.share;
    kernels::sufa_backward(problem, const_rows(prepared.query, row, head, begin),
                           const_rows(prepared.key, row, group, begin), const_rows(prepared.value, row, group, begin),
                           const_rows(upstream, row, head, begin), rows(grad_query, row, head, begin),
                           rows(grad_key, row, group, begin), rows(grad_value, row, group, begin), workspace);
  });
  std::array<at::Tensor, 3> gradients;
  const auto finish = [&](const at::Tensor& gradient, const at::Tensor& like) {
    return (options.bits_tau == 1 ? gradient : gradient / options.bits_tau).to(like.scalar_type());
  };
  if (needed[0]) gradients[0] = finish(at::tanh_backward(grad_query, prepared.query), input.query);
  if (needed[1]) gradients[1] = finish(at::tanh_backward(grad_key, prepared.key), input.key);
  if (needed[2]) gradients[2] = finish(at::sigmoid_backward(grad_value, prepared.value), input.value);
  return gradients;
}

}  // namespace rosa
