#include "models/layer_source.h"

#include <torch/csrc/autograd/custom_function.h>

namespace rosa::models {
namespace {

// Lets an autograd context own a source. The bias may be undefined, which no argument of a function may be.
struct SourceHolder : torch::CustomClassHolder {
  SourceHolder(std::shared_ptr<LayerSource> of, at::Tensor with_bias)
      : source(std::move(of)), bias(std::move(with_bias)) {}
  std::shared_ptr<LayerSource> source;
  at::Tensor bias;
};

class FrozenLinear : public torch::autograd::Function<FrozenLinear> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const c10::intrusive_ptr<SourceHolder>& holder, int64_t layer, int64_t projection) {
    context->saved_data["source"] = c10::IValue::make_capsule(holder);
    context->saved_data["layer"] = layer;
    context->saved_data["projection"] = projection;
    return at::linear(input, holder->source->weight(layer, static_cast<Projection>(projection)), holder->bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<SourceHolder>(context->saved_data["source"].toCapsule());
    const auto projection = static_cast<Projection>(context->saved_data["projection"].toInt());
    const at::Tensor weight = holder->source->weight(context->saved_data["layer"].toInt(), projection);
    const at::Tensor& gradient = gradients.front();
    std::vector<int64_t> shape = gradient.sizes().vec();
    shape.back() = weight.size(1);
    // One product of two matrices, as the backward of at::linear has it.
    const at::Tensor of_input = gradient.reshape({-1, weight.size(0)}).mm(weight).view(shape);
    return {of_input, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor frozen_linear(const at::Tensor& input, const std::shared_ptr<LayerSource>& source, int64_t layer,
                         Projection projection, const at::Tensor& bias) {
  return FrozenLinear::apply(input, c10::make_intrusive<SourceHolder>(source, bias), layer,
                             static_cast<int64_t>(projection));
}

}  // namespace rosa::models
