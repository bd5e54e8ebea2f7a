#include "models/layer_checkpoint.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace rosa::models {
namespace {

using LayerFunction = std::function<at::Tensor(const at::Tensor&)>;

// Lets an autograd context own a function.
struct LayerHolder : torch::CustomClassHolder {
  explicit LayerHolder(LayerFunction function) : layer(std::move(function)) {}
  LayerFunction layer;
};

class Checkpoint : public torch::autograd::Function<Checkpoint> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& hidden,
                            at::TensorList parameters, const c10::intrusive_ptr<LayerHolder>& holder) {
    torch::autograd::variable_list saved = {hidden};
    saved.insert(saved.end(), parameters.begin(), parameters.end());
    context->save_for_backward(std::move(saved));
    context->saved_data["layer"] = c10::IValue::make_capsule(holder);
    return holder->layer(hidden);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list output_gradients) {
    torch::autograd::variable_list inputs = context->get_saved_variables();
    const bool hidden_needs_gradient = inputs.front().requires_grad();
    inputs.front() = inputs.front().detach().requires_grad_(hidden_needs_gradient);
    const auto holder = c10::static_intrusive_pointer_cast<LayerHolder>(context->saved_data["layer"].toCapsule());

    at::AutoGradMode with_gradient(true);
    const at::Tensor output = holder->layer(inputs.front());
    torch::autograd::variable_list wanted(inputs.begin() + (hidden_needs_gradient ? 0 : 1), inputs.end());
    torch::autograd::variable_list gradients =
        torch::autograd::grad({output}, wanted, output_gradients, /*retain_graph=*/false, /*create_graph=*/false,
                              /*allow_unused=*/true);
    if (!hidden_needs_gradient) gradients.insert(gradients.begin(), at::Tensor());
    gradients.emplace_back();  // of the holder
    return gradients;
  }
};

}  // namespace

at::Tensor run_checkpointed(LayerFunction layer, const at::Tensor& hidden, const std::vector<at::Tensor>& parameters) {
  if (!at::GradMode::is_enabled()) return layer(hidden);
  return Checkpoint::apply(hidden, at::TensorList(parameters), c10::make_intrusive<LayerHolder>(std::move(layer)));
}

}  // namespace rosa::models
