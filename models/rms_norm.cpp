#include "models/rms_norm.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rosa::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor inverse_root_mean_square(const at::Tensor& x, double epsilon) {
  return (x * x).mean(-1, /*keepdim=*/true).add_(epsilon).rsqrt_();
}

at::Tensor apply_norm(const at::Tensor& x, const at::Tensor& inverse, const at::Tensor& weight) {
  if (x.scalar_type() == at::kFloat) return (x * inverse).mul_(weight);
  return weight * (x.to(at::kFloat) * inverse).to(x.scalar_type());
}

// Autograd's own graph of the formula keeps four tensors of x's size and takes twice the passes.
class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, double epsilon) {
    const at::Tensor inverse = inverse_root_mean_square(x.to(at::kFloat), epsilon);
    context->save_for_backward({x, weight, inverse});
    return apply_norm(x, inverse, weight);
  }

  static variable_list backward(AutogradContext* context, variable_list output_gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor gradient = output_gradients[0].to(at::kFloat);
    const at::Tensor& inverse = saved[2];
    const at::Tensor normed = saved[0].to(at::kFloat) * inverse;
    variable_list result(3);
    if (context->needs_input_grad(1)) {
      const int64_t size = normed.size(-1);
      result[1] = (gradient * normed).view({-1, size}).sum(0).to(saved[1].scalar_type());
    }
    if (context->needs_input_grad(0)) {
      const at::Tensor weighted = gradient * saved[1].to(at::kFloat);
      const at::Tensor projection = (weighted * normed).mean(-1, /*keepdim=*/true);
      result[0] = weighted.addcmul_(normed, projection, -1).mul_(inverse).to(saved[0].scalar_type());
    }
    return result;
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const bool differentiate = at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad());
  if (differentiate) return RmsNorm::apply(x, weight, epsilon);
  return apply_norm(x, inverse_root_mean_square(x.to(at::kFloat), epsilon), weight);
}

}  // namespace rosa::models
