#include "rosa/estimators/estimated_gate.h"

#include <torch/csrc/autograd/custom_function.h>

#include <utility>

#include "rosa/operator/one_bit_gate.h"

namespace rosa {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SavedGate : torch::CustomClassHolder {
  GateCall call;  // without x and embeddings, which autograd saves
  GateEstimator* estimator = nullptr;
  HostExecutor* executor = nullptr;
};

}  // namespace

// Passes the gate's output on; only its backward does something: it gives the logits their gradient.
class GateLogitsFunction : public torch::autograd::Function<GateLogitsFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& output, const at::Tensor& x,
                            const at::Tensor& emb0, const at::Tensor& emb1, c10::intrusive_ptr<SavedGate> saved) {
    context->save_for_backward({x, emb0, emb1});
    context->saved_data["gate"] = c10::IValue::make_capsule(std::move(saved));
    return output.view_as(output);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    variable_list result(5);
    if (!gradients[0].defined()) return result;
    result[0] = gradients[0];
    if (!context->needs_input_grad(1)) return result;
    const at::NoGradGuard no_grad;
    const auto holder = context->saved_data["gate"].toCapsule();
    const auto& saved = static_cast<const SavedGate&>(*holder);
    const variable_list inputs = context->get_saved_variables();
    GateCall call = saved.call;
    call.x = inputs[0].detach();
    call.emb0 = inputs[1].detach();
    call.emb1 = inputs[2].detach();
    call.grad_output = gradients[0];
    result[1] = saved.estimator->gradient(call, *saved.executor);
    return result;
  }
};

at::Tensor estimated_gate(const at::Tensor& x, const at::Tensor& emb0, const at::Tensor& emb1, GateEstimator& estimator,
                          const GateStream& stream, HostExecutor& executor) {
  const OneBitGateOutput gate = one_bit_gate(x, emb0, emb1, executor);
  auto saved = c10::make_intrusive<SavedGate>();
  saved->call.index = gate.index;
  saved->call.stream = stream;
  saved->estimator = &estimator;
  saved->executor = &executor;
  return GateLogitsFunction::apply(gate.output, x, emb0.detach(), emb1.detach(), std::move(saved));
}

}  // namespace rosa
