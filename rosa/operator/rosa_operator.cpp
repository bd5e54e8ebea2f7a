#include "rosa/operator/rosa_operator.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "rosa/operator/controls.h"
#include "rosa/operator/device_span.h"
#include "rosa/operator/qkv_estimator.h"
#include "rosa/operator/symbols.h"

namespace rosa {
namespace {

using base::require;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check_input(const OperatorInput& input) {
  for (const auto& [tensor, name] : {std::pair{&input.query, "query"}, {&input.key, "key"}, {&input.value, "value"}}) {
    require(tensor->defined() && tensor->dim() == 4 && at::isFloatingType(tensor->scalar_type()),
            "rosa_operator: ", name, " must be a floating point tensor of shape [batch, heads, length, bits]");
    require(tensor->size(0) == input.query.size(0) && tensor->size(2) == input.query.size(2) && tensor->size(2) >= 1 &&
                tensor->device() == input.query.device(),
            "rosa_operator: ", name, " has shape ", tensor->sizes(), " on ", tensor->device(),
            ", expected batch, length (at least 1) and device of the query's ", input.query.sizes());
    require(tensor->size(3) >= 1 && tensor->size(3) <= kMaxSymbolBits, "rosa_operator: ", name, " has ",
            tensor->size(3), " bits, expected 1 to ", kMaxSymbolBits);
  }
  const int64_t heads = input.query.size(1), kv_heads = input.key.size(1);
  require(kv_heads >= 1 && heads % kv_heads == 0 && input.value.size(1) == kv_heads, "rosa_operator: got ", heads,
          " query heads on ", kv_heads, " key and ", input.value.size(1),
          " value heads, expected a multiple of two equal numbers");
  require(input.query.size(3) == input.key.size(3), "rosa_operator: queries have ", input.query.size(3),
          " bits and keys ", input.key.size(3), ", expected the same number");
}

void check_options(const OperatorInput& input, const OperatorOptions& options) {
  require(std::isfinite(options.bits_tau) && options.bits_tau > 0 && std::isfinite(options.attn_tau) &&
              options.attn_tau > 0,
          "rosa_operator: got bits_tau ", options.bits_tau, " and attn_tau ", options.attn_tau,
          ", expected positive numbers");
  require(options.alpha >= 0 && options.alpha <= 1, "rosa_operator: got alpha ", options.alpha, ", expected 0 to 1");
  const bool uses_window =
      options.proxy_mask == ProxyMask::sliding_window || options.control == OperatorControl::windowed;
  require(!uses_window || options.sliding_window >= 1, "rosa_operator: got sliding_window ", options.sliding_window,
          ", expected at least 1");
  require<base::ConfigError>(options.candidates == Candidates::latest || !options.exact_value_gradient,
                             "rosa_operator: exact_value_gradient is the gradient of the latest place's value; it goes "
                             "with candidates latest only");
  require(!options.training || options.control == OperatorControl::none || options.control == OperatorControl::windowed,
          "rosa_operator: the controls zeroed and shuffled are for evaluation, but training is on");
  if (!options.training) return;
  const std::string refusal = options.estimator->refusal(input.query.size(3), input.value.size(3), options);
  require<base::ConfigError>(refusal.empty(), "rosa_operator: ", refusal);
  options.estimator->check_input(input);
}

at::ScalarType bits_dtype(const OperatorInput& input) {
  return input.query.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

bool wants_positions(const OperatorOptions& options) {
  return options.exact_value_gradient || options.estimator->needs_positions();
}

MatchRequest make_request(const OperatorSymbols& symbols, const at::Tensor& mask, const OperatorOptions& options) {
  MatchRequest request;
  request.query_symbols = symbols.query;
  request.key_symbols = symbols.key;
  request.value_symbols = symbols.value;
  request.mask = mask;
  request.documents = symbols.documents;
  request.want_positions = options.training && wants_positions(options);
  request.want_lengths = options.want_lengths;
  request.want_place_sums = options.candidates == Candidates::mean;
  request.symbol_bits = symbols.query_bits;
  request.value_bits = symbols.value_bits;
  request.layer = options.layer;
  apply_control(options, request);
  return request;
}

// The straight-through gradient of the retrieved rows: d bit / d v = sigmoid'(v / tau) / tau at row i* + 1.
at::Tensor exact_value_gradient(const at::Tensor& value, const at::Tensor& positions, const at::Tensor& grad_output,
                                double bits_tau) {
  const at::Tensor collected = collect_by_retrieved_row(value, positions, grad_output);
  const at::Tensor soft = at::sigmoid(value.to(collected.scalar_type()) / bits_tau);
  return (collected * soft * (1 - soft) / bits_tau).to(value.scalar_type());
}

// soft + alpha (hard - soft)
at::Tensor blend(const HardResult& hard, const at::Tensor& soft, double alpha) {
  if (!hard.place_sums.defined()) return blend_symbols(hard.value_symbols, soft, alpha);
  return hard_bits(hard, soft.size(3), soft.scalar_type()).sub_(soft).mul_(alpha).add_(soft);
}

// What the backward needs besides the logits.
struct SavedCall : torch::CustomClassHolder {
  OperatorOptions options;
  at::Tensor mask, documents;
  at::Tensor positions;  // where wanted
};

OperatorSymbols pack(const OperatorInput& input) {
  return {pack_symbols(input.query), pack_symbols(input.key), pack_symbols(input.value),
          input.query.size(3),       input.value.size(3),     input.documents};
}

}  // namespace

bool has_logit_gradient(const OperatorOptions& options) {
  return options.training && (options.estimator->has_gradient() || options.exact_value_gradient || options.alpha < 1);
}

// Forward: the second half of a call. Its input is given apart from the call, as autograd wants it.
class RosaFunction : public torch::autograd::Function<RosaFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                               const at::Tensor& value, RosaCall* call) {
    const OperatorOptions& options = call->options_;
    at::Tensor soft;
    if (options.alpha < 1) {
      call->executor_.run_beside([&] {
        const DeviceSpan span(query.device(), "device", "proxy", {{"layer", options.layer}});
        soft = options.estimator->soft_output(
            {query.detach(), key.detach(), value.detach(), call->input_.mask, call->input_.documents}, options);
      });
    }
    const HardResult hard = call->wait();
    const at::ScalarType dtype = bits_dtype(call->input_);
    const at::Tensor bits =
        soft.defined() ? blend(hard, soft.to(dtype), options.alpha) : hard_bits(hard, value.size(3), dtype);

    auto saved = c10::make_intrusive<SavedCall>();
    saved->options = options;
    saved->mask = call->input_.mask;
    saved->documents = call->input_.documents;
    if (wants_positions(options)) saved->positions = hard.positions;
    context->save_for_backward({query, key, value});
    context->saved_data["call"] = c10::IValue::make_capsule(std::move(saved));
    context->mark_non_differentiable({hard.matched});
    call->lengths_ = hard.lengths;
    return {bits, hard.matched};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list logits = context->get_saved_variables();
    const auto holder = context->saved_data["call"].toCapsule();
    const auto& call = static_cast<const SavedCall&>(*holder);
    const OperatorInput input{logits[0].detach(), logits[1].detach(), logits[2].detach(), call.mask, call.documents};
    const bool exact = call.options.exact_value_gradient;
    std::array<bool, 3> needed{context->needs_input_grad(0), context->needs_input_grad(1),
                               context->needs_input_grad(2) && !exact};
    std::array<at::Tensor, 3> result;
    if (!gradients[0].defined()) return {{}, {}, {}, {}};
    if (needed[0] || needed[1] || needed[2]) {
      const DeviceSpan span(input.query.device(), "device", "estimator", {{"layer", call.options.layer}});
      result = call.options.estimator->gradients({input, call.options, call.positions, gradients[0], needed});
    }
    if (exact && context->needs_input_grad(2)) {
      const at::NoGradGuard no_grad;
      result[2] = exact_value_gradient(input.value, call.positions, gradients[0], call.options.bits_tau);
    }
    return {result[0], result[1], result[2], {}};
  }
};

RosaCall::RosaCall(OperatorInput input, OperatorOptions options, HostExecutor& executor, HardResult* recorded)
    : input_(std::move(input)), options_(options), executor_(executor), recorded_(recorded) {
  check_input(input_);
  check_options(input_, options_);
  if (recorded_ != nullptr && recorded_->defined()) return;
  const at::NoGradGuard no_grad;
  const base::TraceSpan span("device", "pack and submit", {{"layer", options_.layer}});
  ticket_ = executor_.submit(make_request(pack(input_), input_.mask, options_));
}

RosaCall::RosaCall(const OperatorSymbols& symbols, OperatorOptions options, HostExecutor& executor,
                   HardResult* recorded)
    : options_(options), executor_(executor), recorded_(recorded) {
  require(!has_logit_gradient(options_), "rosa_operator: symbols alone have no gradient, but estimator ",
          options_.estimator->name(), " is to give one in training");
  if (recorded_ != nullptr && recorded_->defined()) return;
  const base::TraceSpan span("device", "submit", {{"layer", options_.layer}});
  ticket_ = executor_.submit(make_request(symbols, {}, options_));
}

HardResult RosaCall::wait() {
  if (!ticket_) return *recorded_;
  HardResult result = executor_.wait(ticket_);
  if (recorded_ != nullptr) *recorded_ = result;
  return result;
}

OperatorOutput RosaCall::finish() {
  if (options_.training) {
    const variable_list outputs = RosaFunction::apply(input_.query, input_.key, input_.value, this);
    return {outputs[0], outputs[1], std::exchange(lengths_, {})};
  }
  const at::NoGradGuard no_grad;
  const HardResult hard = finish_hard();
  return {hard_bits(hard, input_.value.size(3), bits_dtype(input_)), hard.matched, hard.lengths};
}

HardResult RosaCall::finish_hard() {
  const at::NoGradGuard no_grad;
  HardResult hard = wait();
  if (options_.control != OperatorControl::zeroed) return hard;
  for (at::Tensor* part : {&hard.value_symbols, &hard.matched, &hard.lengths, &hard.place_sums}) {
    if (part->defined()) *part = at::zeros_like(*part);
  }
  return hard;
}

OperatorOutput rosa_operator(const OperatorInput& input, const OperatorOptions& options, HostExecutor& executor,
                             HardResult* recorded) {
  return RosaCall(input, options, executor, recorded).finish();
}

}  // namespace rosa
