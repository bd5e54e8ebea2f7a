#include "rosa/operator/fused_device.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "rosa/kernels/dense_surrogate.h"
#include "rosa/operator/document_runs.h"
#include "rosa/operator/fused_proxies.h"

namespace rosa {
namespace {

// [B,H,T,bits] -> contiguous [B,H,bits,T] and back.
at::Tensor by_bit(const at::Tensor& rows) { return rows.transpose(2, 3).contiguous(); }
at::Tensor by_row(const at::Tensor& bits) { return bits.defined() ? bits.transpose(2, 3) : bits; }

float* floats_of(const at::Tensor& tensor) { return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr; }

kernels::ProxyKind kind_of(Proxy proxy) {
  switch (proxy) {
    case Proxy::sufa:
      return kernels::ProxyKind::sufa;
    case Proxy::soft_rosa:
      return kernels::ProxyKind::soft_rosa;
    case Proxy::dense_surrogate:
      return kernels::ProxyKind::dense_surrogate;
  }
  return kernels::ProxyKind::sufa;  // not reached
}

// The arguments of a launch and the tensors that they point to.
class DeviceCall {
 public:
  DeviceCall(Proxy proxy, const OperatorInput& input, const OperatorOptions& options)
      : kind_(kind_of(proxy)),
        rows_(proxy, input, options),
        query_(by_bit(rows_.query)),
        key_(by_bit(rows_.key)),
        value_(by_bit(rows_.value)) {
    set_segments(input);
    arguments_.num_heads = query_.size(1);
    arguments_.num_kv_heads = key_.size(1);
    arguments_.length = query_.size(3);
    arguments_.query_bits = query_.size(2);
    arguments_.value_bits = value_.size(2);
    arguments_.max_distance = visible_distance(proxy, options, arguments_.length);
    arguments_.query = floats_of(query_);
    arguments_.key = floats_of(key_);
    arguments_.value = floats_of(value_);
    if (proxy == Proxy::sufa) {
      arguments_.num_symbols = options.sufa_head_dim / arguments_.query_bits;
      arguments_.num_hidden = sufa_hidden(options);
      arguments_.logit_scale = sufa_scale(options);
    } else if (proxy == Proxy::dense_surrogate) {
      arguments_.bits_scale =
          static_cast<float>(kernels::kMismatchScale / 2) / static_cast<float>(arguments_.query_bits);
      arguments_.logit_scale = kernels::kUtilityScale / options.attn_tau;
    } else {
      arguments_.bits_scale = static_cast<float>(1 / options.bits_tau);
      arguments_.bits_offset = static_cast<float>(soft_rosa_offset(options, arguments_.query_bits));
      arguments_.logit_scale = 1 / options.attn_tau;
    }
    bias_ = position_bias(proxy, options);
    arguments_.bias = floats_of(bias_);
    workspace_ = empty({kernels::proxy_workspace_bytes(kind_, arguments_)}, at::kByte);
    arguments_.workspace = static_cast<std::byte*>(workspace_.mutable_data_ptr());
  }

  at::Tensor forward(const ProxyLauncher& launcher) {
    const at::Tensor output = empty({query_.size(0), query_.size(1), value_.size(2), query_.size(3)}, at::kFloat);
    arguments_.output = floats_of(output);
    launcher.forward(kind_, arguments_);
    return by_row(output);
  }

  // The gradients for the logits.
  std::array<at::Tensor, 3> backward(const OperatorInput& input, const OperatorOptions& options,
                                     const at::Tensor& grad_output, const std::array<bool, 3>& needed,
                                     const ProxyLauncher& launcher) {
    const at::Tensor upstream = by_bit(grad_output.to(at::kFloat));
    const std::array<int64_t, 3> rows{query_.size(0), query_.size(1), query_.size(3)};
    const at::Tensor log_totals = empty(rows, at::kDouble), means = empty(rows, at::kDouble);
    const at::Tensor confidences = empty(rows, at::kFloat), grad_best_runs = empty(rows, at::kFloat);
    const at::Tensor best_distances = empty(rows, at::kInt);
    arguments_.grad_output = floats_of(upstream);
    arguments_.log_totals = log_totals.mutable_data_ptr<double>();
    arguments_.means = means.mutable_data_ptr<double>();
    arguments_.confidences = floats_of(confidences);
    arguments_.grad_best_runs = floats_of(grad_best_runs);
    arguments_.best_distances = best_distances.mutable_data_ptr<int32_t>();
    launcher.forward(kind_, arguments_);

    std::array<at::Tensor, 3> gradients;
    if (needed[0]) gradients[0] = at::zeros_like(query_);
    if (needed[1]) gradients[1] = at::zeros_like(key_);
    if (needed[2]) gradients[2] = at::zeros_like(value_);
    arguments_.grad_query = floats_of(gradients[0]);
    arguments_.grad_key = floats_of(gradients[1]);
    arguments_.grad_value = floats_of(gradients[2]);
    launcher.backward(kind_, arguments_);
    return rows_.logit_gradients({by_row(gradients[0]), by_row(gradients[1]), by_row(gradients[2])}, input, options);
  }

 private:
  at::Tensor empty(at::IntArrayRef sizes, at::ScalarType dtype) const {
    return at::empty(sizes, query_.options().dtype(dtype));
  }

  void set_segments(const OperatorInput& input) {
    const at::Tensor documents = input.documents.defined() ? input.documents.to(at::kCPU) : input.documents;
    std::vector<int32_t> numbers;
    for (int64_t row = 0; row < query_.size(0); ++row) {
      for (const auto& [begin, end] : document_runs(documents, row, query_.size(3))) {
        for (const int64_t number : {row, begin, end - begin}) numbers.push_back(static_cast<int32_t>(number));
        arguments_.max_length = std::max(arguments_.max_length, end - begin);
      }
    }
    static_assert(sizeof(kernels::Segment) == 3 * sizeof(int32_t), "three numbers a document");
    segments_ = at::tensor(numbers, at::kInt).to(query_.device());
    arguments_.num_segments = segments_.size(0) / 3;
    arguments_.segments = static_cast<const kernels::Segment*>(segments_.const_data_ptr());
  }

  at::Tensor position_bias(Proxy proxy, const OperatorOptions& options) const {
    const auto doubles = query_.options().dtype(at::kDouble);
    const bool has_none = proxy == Proxy::dense_surrogate || options.position_bias == PositionBias::none;
    if (has_none) return at::zeros({arguments_.max_length}, query_.options());
    const at::Tensor delta = at::arange(arguments_.max_length, doubles);
    if (options.position_bias == PositionBias::log) {
      const at::Tensor bias = (1 - (delta + 2).log().clamp_min(1) / std::log(kPositionScale)).clamp_min(0);
      return (bias / options.attn_tau).to(at::kFloat);
    }
    return ((-(delta + 1) / kPositionScale).exp() / options.attn_tau).to(at::kFloat);
  }

  kernels::ProxyKind kind_;
  FusedRows rows_;
  at::Tensor query_, key_, value_, segments_, bias_, workspace_;
  kernels::ProxyArguments arguments_;
};

}  // namespace

bool can_fuse_on_device(Proxy proxy, const OperatorInput& input, const OperatorOptions& options) {
  return options.proxy_kernel == ProxyKernel::fused && input.query.is_cuda() &&
         input.query.scalar_type() != at::kDouble && has_plain_mask(proxy, input, options);
}

at::Tensor device_fused_forward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                const ProxyLauncher& launcher) {
  return DeviceCall(proxy, input, options).forward(launcher);
}

std::array<at::Tensor, 3> device_fused_backward(Proxy proxy, const OperatorInput& input, const OperatorOptions& options,
                                                const at::Tensor& grad_output, const std::array<bool, 3>& needed,
                                                const ProxyLauncher& launcher) {
  return DeviceCall(proxy, input, options).backward(input, options, grad_output, needed, launcher);
}

}  // namespace rosa
