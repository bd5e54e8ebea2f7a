#include "models/code_training.h"

#include <torch/csrc/autograd/custom_function.h>

#include <array>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace rosa::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// "layer" of the keys; tells these numbers from all others of the seed.
constexpr uint64_t kStreamOfDropout = 0x64726f70;

std::array<at::Tensor CodeLogits::*, 3> members() { return {&CodeLogits::query, &CodeLogits::key, &CodeLogits::value}; }

at::Tensor soft_bits(const at::Tensor& logits, double bits_tau) { return at::tanh(logits / (2 * bits_tau)); }

// query [B,H,T,D] beside the key that it reads: [B,G,H/G,T,D].
at::Tensor by_key_head(const at::Tensor& query, const at::Tensor& key) {
  return query.unflatten(1, {key.size(1), query.size(1) / key.size(1)});
}

// The one code of query and key, [B,G,H/G,T,D].
at::Tensor common_code(const CodeLogits& logits) {
  const at::Tensor sum = by_key_head(logits.query, logits.key) + logits.key.unsqueeze(2);
  return at::where(sum > 0, at::ones({}, sum.options()), at::full({}, -1, sum.options()));
}

struct CodeCall : torch::CustomClassHolder {
  CodeTraining training;
  GradientDropout dropout;
  CodeLosses weights;
  double bits_tau = 1.0;
  int64_t layer = 0;
};

class CodeFunction : public torch::autograd::Function<CodeFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key,
                               const at::Tensor& value, const c10::intrusive_ptr<CodeCall>& call) {
    context->save_for_backward({query, key, value});
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    return {query, key, value};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::NoGradGuard no_gradient;
    const variable_list saved = context->get_saved_variables();
    const CodeLogits logits{saved[0].detach(), saved[1].detach(), saved[2].detach()};
    const auto holder = context->saved_data["call"].toCapsule();
    const auto& call = static_cast<const CodeCall&>(*holder);
    if (call.dropout.share > 0) {
      const at::Tensor factors = dropout_factors(call.dropout, call.training, call.layer, logits.key);
      gradients[1] = gradients[1] * factors;
      gradients[0] = factors.size(1) == 1
                         ? gradients[0] * factors
                         : (by_key_head(gradients[0], logits.key) * factors.unsqueeze(2)).flatten(1, 2);
    }
    if (call.training.has_losses()) {
      const CodeLogits added = code_loss_gradients(logits, call.bits_tau, call.weights);
      for (size_t i = 0; i < members().size(); ++i) gradients[i] = gradients[i] + added.*members()[i];
    }
    for (size_t i = 0; i < gradients.size(); ++i) {
      if (!context->needs_input_grad(i)) gradients[i] = at::Tensor();
    }
    gradients.emplace_back();  // of the call
    return gradients;
  }
};

}  // namespace

CodeLosses mean_losses(const std::map<int64_t, at::Tensor>& values) {
  CodeLosses mean;
  for (const auto& [layer, tensor] : values) {
    const at::Tensor pair = tensor.cpu();
    mean.balance += pair[0].item<double>() / static_cast<double>(values.size());
    mean.consistency += pair[1].item<double>() / static_cast<double>(values.size());
  }
  return mean;
}

at::Tensor code_losses(const CodeLogits& logits, double bits_tau) {
  const at::NoGradGuard no_gradient;
  at::Tensor balance = at::zeros({}, logits.query.options().dtype(at::kDouble));
  for (const auto member : members()) {
    balance += soft_bits(logits.*member, bits_tau).mean({0, 2}).square().mean(at::kDouble) / 3;
  }
  const at::Tensor code = common_code(logits);
  const at::Tensor of_query = code - by_key_head(soft_bits(logits.query, bits_tau), logits.key);
  const at::Tensor of_key = code - soft_bits(logits.key, bits_tau).unsqueeze(2);
  return at::stack({balance, (of_query.square() + of_key.square()).mean(at::kDouble) / 2});
}

CodeLogits code_loss_gradients(const CodeLogits& logits, double bits_tau, const CodeLosses& weights) {
  const at::NoGradGuard no_gradient;
  CodeLogits soft, gradients;
  for (const auto member : members()) {
    const at::Tensor& y = soft.*member = soft_bits(logits.*member, bits_tau);
    // d y / d x = (1 - y^2) / (2 bits_tau); the squared mean's derivative at each y is 2 mean / positions.
    const double scale = weights.balance / (3 * bits_tau * static_cast<double>(y.numel()));
    gradients.*member = y.mean({0, 2}, /*keepdim=*/true) * scale * (1 - y.square());
  }
  if (weights.consistency == 0) return gradients;
  const at::Tensor code = common_code(logits);
  const double scale = weights.consistency / (2 * bits_tau * static_cast<double>(code.numel()));
  const at::Tensor of_query = by_key_head(soft.query, logits.key) - code;
  const at::Tensor of_key = (soft.key.unsqueeze(2) - code).sum(2);
  gradients.query = gradients.query + of_query.flatten(1, 2) * scale * (1 - soft.query.square());
  gradients.key = gradients.key + of_key * scale * (1 - soft.key.square());
  return gradients;
}

at::Tensor dropout_factors(const GradientDropout& dropout, const CodeTraining& training, int64_t layer,
                           const at::Tensor& key) {
  const int64_t batch = key.size(0), length = key.size(2);
  const int64_t heads = dropout.unit == DropoutUnit::head ? key.size(1) : 1;
  at::Tensor factors = at::empty({batch, length, heads}, at::kFloat);
  std::vector<double> uniforms(static_cast<size_t>(length * heads));
  float* factor = factors.mutable_data_ptr<float>();
  const auto kept = static_cast<float>(1 / (1 - dropout.share));
  for (int64_t row = 0; row < batch; ++row) {
    base::random_uniforms({.seed = training.seed,
                           .step = static_cast<uint64_t>(training.step),
                           .sample = static_cast<uint64_t>(training.first_sample + row),
                           .layer = kStreamOfDropout + static_cast<uint64_t>(layer)},
                          uniforms);
    for (const double uniform : uniforms) *factor++ = uniform < dropout.share ? 0.0F : kept;
  }
  return factors.transpose(1, 2).unsqueeze(3).to(key.device());
}

CodeLogits train_codes(const CodeLogits& logits, const CodeTraining& training, const GradientDropout& dropout,
                       double bits_tau, int64_t layer, int64_t num_layers) {
  if (training.has_losses() && training.values != nullptr) {
    (*training.values)[layer] = code_losses(logits, bits_tau);
  }
  if (!training.has_losses() && dropout.share == 0) return logits;
  auto call = c10::make_intrusive<CodeCall>();
  call->training = training;
  call->dropout = dropout;
  const auto layers = static_cast<double>(num_layers);
  call->weights = {training.weights.balance / layers, training.weights.consistency / layers};
  call->bits_tau = bits_tau;
  call->layer = layer;
  const variable_list same = CodeFunction::apply(logits.query, logits.key, logits.value, call);
  return {same[0], same[1], same[2]};
}

}  // namespace rosa::models
