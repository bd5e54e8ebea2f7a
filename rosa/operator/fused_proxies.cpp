#include "rosa/operator/fused_proxies.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "base/error.h"
#include "rosa/kernels/dense_surrogate.h"
#include "rosa/kernels/soft_rosa.h"
#include "rosa/kernels/sufa.h"
#include "rosa/operator/document_runs.h"

namespace rosa {
namespace {

// The kernels by one name each, told apart by the problem.
int64_t workspace_bytes(const kernels::SufaProblem& problem) { return kernels::sufa_workspace_bytes(problem); }
int64_t workspace_bytes(const kernels::SoftRosaProblem& problem) { return kernels::soft_rosa_workspace_bytes(problem); }
template <class... Arguments>
void run_forward(const kernels::SufaProblem& problem, const Arguments&... arguments) {
  kernels::sufa_forward(problem, arguments...);
}
template <class... Arguments>
void run_forward(const kernels::SoftRosaProblem& problem, const Arguments&... arguments) {
  kernels::soft_rosa_forward(problem, arguments...);
}
template <class... Arguments>
void run_backward(const kernels::SufaProblem& problem, const Arguments&... arguments) {
  kernels::sufa_backward(problem, arguments...);
}
template <class... Arguments>
void run_backward(const kernels::SoftRosaProblem& problem, const Arguments&... arguments) {
  kernels::soft_rosa_backward(problem, arguments...);
}
int64_t workspace_bytes(const kernels::DenseSurrogateProblem& problem) {
  return kernels::dense_surrogate_workspace_bytes(problem);
}
template <class... Arguments>
void run_forward(const kernels::DenseSurrogateProblem&, const Arguments&...) {
  throw base::ArgumentError("fused_forward: the dense surrogate has no fused forward; take proxy_blocks_forward");
}
template <class... Arguments>
void run_backward(const kernels::DenseSurrogateProblem& problem, const Arguments&... arguments) {
  kernels::dense_surrogate_backward(problem, arguments...);
}

// The kernels want the bits of a row side by side.
at::Tensor dense_rows(const at::Tensor& tensor) {
  return tensor.size(3) == 1 || tensor.stride(3) == 1 ? tensor : tensor.contiguous();
}

// What forward and backward share: the kernel's inputs, and the work as a list of pieces.
class Pieces {
 public:
  Pieces(Proxy proxy, const OperatorInput& input, const OperatorOptions& options)
      : rows(proxy, input, options), proxy_(proxy), options_(options), length_(input.query.size(2)) {
    for (at::Tensor* tensor : {&rows.query, &rows.key, &rows.value}) *tensor = dense_rows(*tensor);
    bias_ = fused_bias(proxy, options, length_, kernels::padded_length(length_));
    for (int64_t row = 0; row < input.query.size(0); ++row) {
      runs_.push_back(document_runs(input.documents, row, length_));
    }
  }

  int64_t share() const { return rows.query.size(1) / rows.key.size(1); }

  // Calls body(problem of the document, row, group, first position, workspace) for every document of every row and
  // key/value head.
  template <class Body>
  void for_each(const Body& body) const {
    if (proxy_ == Proxy::sufa) return for_each_with(sufa_problem(), body);
    if (proxy_ == Proxy::soft_rosa) return for_each_with(soft_rosa_problem(), body);
    auto problem = sized<kernels::DenseSurrogateProblem>();
    problem.scale = static_cast<float>(1 / options_.attn_tau);
    for_each_with(problem, body);
  }

  FusedRows rows;

 private:
  kernels::SufaProblem sufa_problem() const {
    kernels::SufaProblem problem = sized<kernels::SufaProblem>();
    problem.num_symbols = options_.sufa_head_dim / problem.query_bits;
    problem.num_hidden = sufa_hidden(options_);
    problem.scale = static_cast<float>(sufa_scale(options_));
    problem.bias = bias_.data();
    return problem;
  }

  kernels::SoftRosaProblem soft_rosa_problem() const {
    kernels::SoftRosaProblem problem = sized<kernels::SoftRosaProblem>();
    problem.bits_scale = static_cast<float>(1 / options_.bits_tau);
    problem.bits_offset = static_cast<float>(soft_rosa_offset(options_, problem.query_bits));
    problem.logit_scale = 1 / options_.attn_tau;
    problem.bias = bias_.data();
    return problem;
  }

  template <class Problem>
  Problem sized() const {
    Problem problem;
    problem.num_heads = share();
    problem.length = length_;
    problem.query_bits = rows.query.size(3);
    problem.value_bits = rows.value.size(3);
    problem.max_distance = visible_distance(proxy_, options_, length_);
    return problem;
  }

  template <class Problem, class Body>
  void for_each_with(const Problem& problem, const Body& body) const {
    const int64_t groups = rows.key.size(1);
    at::parallel_for(0, rows.query.size(0) * groups, 1, [&](int64_t first, int64_t last) {
      const std::unique_ptr<std::byte[]> workspace(new std::byte[workspace_bytes(problem)]);
      for (int64_t piece = first; piece < last; ++piece) {
        for (const auto& [begin, end] : runs_[piece / groups]) {
          Problem document = problem;
          document.length = end - begin;
          body(document, piece / groups, piece % groups, begin, workspace.get());
        }
      }
    });
  }

  Proxy proxy_;
  const OperatorOptions& options_;
  int64_t length_;
  std::vector<float> bias_;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> runs_;
};

int64_t offset_of(const at::Tensor& tensor, int64_t row, int64_t head, int64_t position) {
  return row * tensor.stride(0) + head * tensor.stride(1) + position * tensor.stride(2);
}

kernels::ConstRows const_rows(const at::Tensor& tensor, int64_t row, int64_t head, int64_t position) {
  return {tensor.const_data_ptr<float>() + offset_of(tensor, row, head, position), tensor.stride(1), tensor.stride(2)};
}

kernels::Rows rows_of(const at::Tensor& tensor, int64_t row, int64_t head, int64_t position) {
  if (!tensor.defined()) return {};
  return {tensor.mutable_data_ptr<float>() + offset_of(tensor, row, head, position), tensor.stride(1),
          tensor.stride(2)};
}

// [B,H,T,bits] as a transposed view of a contiguous [B,T,H,bits].
at::Tensor empty_like_rows(const at::Tensor& rows, int64_t heads, int64_t bits) {
  return at::empty({rows.size(0), rows.size(2), heads, bits}, rows.options()).transpose(1, 2);
}

}  // namespace

std::vector<float> fused_bias(Proxy proxy, const OperatorOptions& options, int64_t length, int64_t size) {
  std::vector<float> bias(static_cast<size_t>(size), 0.0F);
  if (options.position_bias == PositionBias::none || proxy == Proxy::dense_surrogate) return bias;
  const bool is_log = options.position_bias == PositionBias::log;
  for (int64_t delta = 0; delta < length; ++delta) {
    const auto distance = static_cast<double>(delta);
    const double value = is_log ? std::max(0.0, 1 - std::max(std::log(distance + 2), 1.0) / std::log(kPositionScale))
                                : std::exp(-(distance + 1) / kPositionScale);
    bias[static_cast<size_t>(delta)] = static_cast<float>(value / options.attn_tau);
  }
  return bias;
}

double sufa_scale(const OperatorOptions& options) {
  return 1 / (options.attn_tau * std::sqrt(static_cast<double>(options.sufa_head_dim)));
}

double soft_rosa_offset(const OperatorOptions& options, int64_t query_bits) {
  return static_cast<double>(query_bits - 1) * (1 - options.bits_tau) / options.bits_tau;
}

int64_t sufa_hidden(const OperatorOptions& options) { return options.position_bias == PositionBias::log ? 1 : 0; }

int64_t visible_distance(Proxy proxy, const OperatorOptions& options, int64_t length) {
  if (options.proxy_mask == ProxyMask::causal) return length;
  return std::min(options.sliding_window - (proxy == Proxy::sufa ? sufa_hidden(options) : 0), length);
}

bool has_plain_mask(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  return !input.mask.defined() && visible_distance(proxy, options, 1) >= 1;
}

FusedRows::FusedRows(Proxy kind, const OperatorInput& input, const OperatorOptions& options) : proxy(kind) {
  if (proxy == Proxy::dense_surrogate) {
    const auto signs = [](const at::Tensor& logits) { return at::where(logits > 0, 1.0, -1.0).to(at::kFloat); };
    query = signs(input.query), key = signs(input.key), value = signs(input.value);
    return;
  }
  query = at::tanh(input.query.to(at::kFloat) / options.bits_tau);
  key = at::tanh(input.key.to(at::kFloat) / options.bits_tau);
  value = at::sigmoid(input.value.to(at::kFloat) / options.bits_tau);
}

std::array<at::Tensor, 3> FusedRows::logit_gradients(const std::array<at::Tensor, 3>& gradients,
                                                     const OperatorInput& input, const OperatorOptions& options) const {
  std::array<at::Tensor, 3> result;
  if (proxy == Proxy::dense_surrogate) {
    // The output is (1 + carrier) / 2.
    const at::Tensor* const logits[] = {&input.query, &input.key, &input.value};
    for (size_t i = 0; i < 3; ++i) {
      if (!gradients[i].defined()) continue;
      const at::Tensor x = logits[i]->to(at::kFloat) / options.bits_tau;
      const at::Tensor slopes = (2 * options.bits_tau * (1 + x.abs()).square()).reciprocal();
      result[i] = (gradients[i] * slopes).to(logits[i]->scalar_type());
    }
    return result;
  }
  const auto finish = [&](const at::Tensor& gradient, const at::Tensor& like) {
    return (options.bits_tau == 1 ? gradient : gradient / options.bits_tau).to(like.scalar_type());
  };
  if (gradients[0].defined()) result[0] = finish(at::tanh_backward(gradients[0], query), input.query);
  if (gradients[1].defined()) result[1] = finish(at::tanh_backward(gradients[1], key), input.key);
  if (gradients[2].defined()) result[2] = finish(at::sigmoid_backward(gradients[2], value), input.value);
  return result;
}

bool can_fuse(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  return options.proxy_kernel == ProxyKernel::fused && input.query.is_cpu() &&
         input.query.scalar_type() != at::kDouble && has_plain_mask(proxy, input, options);
}

at::Tensor fused_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  const Pieces pieces(proxy, input, options);
  const FusedRows& rows = pieces.rows;
  at::Tensor output = empty_like_rows(rows.query, rows.query.size(1), rows.value.size(3));
  pieces.for_each([&](const auto& problem, int64_t row, int64_t group, int64_t begin, std::byte* workspace) {
    const int64_t head = group * pieces.share();
    run_forward(problem, const_rows(rows.query, row, head, begin), const_rows(rows.key, row, group, begin),
                const_rows(rows.value, row, group, begin), rows_of(output, row, head, begin), workspace);
  });
  return output;
}

std::array<at::Tensor, 3> fused_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                         const at::Tensor& grad_output, const std::array<bool, 3>& needed) {
  const Pieces pieces(proxy, input, options);
  const FusedRows& rows = pieces.rows;
  const at::Tensor upstream = dense_rows(grad_output.to(at::kFloat));
  std::array<at::Tensor, 3> gradients;
  if (needed[0] || needed[1]) {
    gradients[0] = empty_like_rows(rows.query, rows.query.size(1), rows.query.size(3));
    gradients[1] = empty_like_rows(rows.key, rows.key.size(1), rows.key.size(3));
  }
  if (needed[2]) gradients[2] = empty_like_rows(rows.value, rows.value.size(1), rows.value.size(3));
  pieces.for_each([&](const auto& problem, int64_t row, int64_t group, int64_t begin, std::byte* workspace) {
    const int64_t head = group * pieces.share();
    run_backward(problem, const_rows(rows.query, row, head, begin), const_rows(rows.key, row, group, begin),
                 const_rows(rows.value, row, group, begin), const_rows(upstream, row, head, begin),
                 rows_of(gradients[0], row, head, begin), rows_of(gradients[1], row, group, begin),
                 rows_of(gradients[2], row, group, begin), workspace);
  });
  for (size_t i = 0; i < 3; ++i) {
    if (!needed[i]) gradients[i].reset();
  }
  return rows.logit_gradients(gradients, input, options);
}

}  // namespace rosa
