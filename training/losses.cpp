#include "training/losses.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <tuple>

#include "rosa/operator/device_span.h"

namespace rosa::training {

using base::Role;

namespace {

constexpr int64_t kIgnored = -100;

// Per-token coefficients and targets, flattened to [N].
struct Targets {
  at::Tensor labels;      // int64, shifted: what position n predicts (0 where not counted)
  at::Tensor ce_weights;  // float, 0 where not counted
  at::Tensor kl_weights;  // float, 0 at padding and where the mask says so; undefined: all 1
};

Targets make_targets(const LossInput& input) {
  const at::Tensor& labels = input.labels;
  at::Tensor shifted = at::full_like(labels, kIgnored);
  const int64_t length = labels.size(1);
  if (length > 1) shifted.narrow(1, 0, length - 1).copy_(labels.narrow(1, 1, length - 1));
  const at::Tensor counted = shifted.ne(kIgnored);
  at::Tensor weights = counted.to(at::kFloat);
  if (input.loss_weights.defined() && length > 1) {
    weights.narrow(1, 0, length - 1).mul_(input.loss_weights.narrow(1, 1, length - 1));
  }
  Targets targets;
  targets.labels = shifted.clamp_min(0).reshape({-1});
  targets.ce_weights = weights.reshape({-1});
  if (input.kl_mask.defined()) {
    at::Tensor kl_weights = at::zeros(labels.sizes(), weights.options());
    if (length > 1) kl_weights.narrow(1, 0, length - 1).copy_(input.kl_mask.narrow(1, 1, length - 1));
    if (input.padding.defined()) kl_weights.masked_fill_(input.padding, 0.0);
    targets.kl_weights = kl_weights.reshape({-1});
  } else if (input.padding.defined()) {
    targets.kl_weights = input.padding.logical_not().to(at::kFloat).reshape({-1});
  }
  return targets;
}

std::vector<double> sums_by_sequence(const at::Tensor& per_token, int64_t num_sequences) {
  const at::Tensor sums = per_token.reshape({num_sequences, -1}).to(at::kDouble).sum(1).cpu().contiguous();
  return {sums.const_data_ptr<double>(), sums.const_data_ptr<double>() + num_sequences};
}

double sum_by_sequence(const at::Tensor& per_token, int64_t num_sequences) {
  double total = 0.0;
  for (const double sum : sums_by_sequence(per_token, num_sequences)) total += sum;
  return total;
}

// In the dtype of both, which is the compute dtype.
at::Tensor chunk_logits(const at::Tensor& hidden, const at::Tensor& lm_head, int64_t first, int64_t count) {
  const DeviceSpan span(hidden.device(), "device", "lm_head");
  return at::matmul(hidden.narrow(0, first, count), lm_head.t());
}

// Everything the forward gives: token losses for the sums, gradients for the backward.
struct ForwardResult {
  at::Tensor token_kl, token_ce;         // float [N]; undefined where the term has no weight
  at::Tensor grad_hidden, grad_lm_head;  // undefined where not needed
};

struct Coefficients {
  double kl = 0.0;  // distill_alpha / kl_count
  double ce = 0.0;  // (1 - distill_alpha) / ce_count
  double temperature = 1.0;
  Divergence divergence = Divergence::forward_kl;
  double beta = 0.5;
  int64_t top_k = 0;
  int64_t chunk_tokens = 0;
};

// Puts the KL term of a block into the token losses. With `need_gradient`: its gradient by the student's logits.
at::Tensor kl_term(const at::Tensor& student_logits, const at::Tensor& teacher_logits, const at::Tensor& weights,
                   const Coefficients& c, at::Tensor token_kl, bool need_gradient) {
  const double t = c.temperature;
  const auto log_probabilities = [t](const at::Tensor& logits) {
    return at::log_softmax(t == 1.0 ? logits : logits / t, 1);
  };
  at::Tensor tokens;  // int64 [n,top_k], each row's without repetition
  DivergenceRows rows;
  if (c.top_k > 0 && c.top_k < teacher_logits.size(1)) {
    at::Tensor top;
    std::tie(top, tokens) = at::topk(teacher_logits, c.top_k, 1);
    rows = divergence_rows(c.divergence, c.beta, log_probabilities(top),
                           log_probabilities(student_logits.gather(1, tokens)), need_gradient);
  } else {
    rows = divergence_rows(c.divergence, c.beta, log_probabilities(teacher_logits), log_probabilities(student_logits),
                           need_gradient);
  }
  rows.value.mul_(t * t);
  if (weights.defined()) rows.value.mul_(weights);
  token_kl.copy_(rows.value);
  if (!need_gradient) return {};
  // d/dlogits of T^2 D(softmax(logits / T)) = T D'
  rows.gradient.mul_(c.kl * t);
  if (weights.defined()) rows.gradient.mul_(weights.unsqueeze(1));
  return tokens.defined() ? at::zeros_like(student_logits).scatter_(1, tokens, rows.gradient) : rows.gradient;
}

// The same of the cross-entropy.
at::Tensor ce_term(const at::Tensor& student_logits, const at::Tensor& labels, const at::Tensor& weights,
                   const Coefficients& c, at::Tensor token_ce, bool need_gradient) {
  at::Tensor student_log = at::log_softmax(student_logits, 1);
  const at::Tensor index = labels.unsqueeze(1);
  token_ce.copy_(student_log.gather(1, index).squeeze(1).neg_().mul_(weights));
  if (!need_gradient) return {};
  at::Tensor grad = student_log.exp_();
  grad.scatter_add_(1, index, at::full_like(index, -1.0, grad.options()));
  return grad.mul_(weights.mul(c.ce).unsqueeze(1));
}

// Tokens of a micro-batch.
struct Block {
  int64_t first = 0, count = 0;
};

// Both terms of a block of rows, whose logits have any dtype; `grad_logits`, if defined, gets the gradient and may be
// the student's logits themselves.
void add_block(const Block& block, const at::Tensor& logits, const at::Tensor& teacher_logits, const Targets& targets,
               const Coefficients& c, ForwardResult& result, at::Tensor grad_logits) {
  const auto of_block = [&block](const at::Tensor& per_token) {
    return per_token.defined() ? per_token.narrow(0, block.first, block.count) : at::Tensor();
  };
  const at::Tensor student = logits.to(at::kFloat);
  const bool need_gradient = grad_logits.defined();
  at::Tensor gradient;
  if (c.kl != 0.0) {
    gradient = kl_term(student, teacher_logits.to(at::kFloat), of_block(targets.kl_weights), c,
                       of_block(result.token_kl), need_gradient);
  }
  if (c.ce != 0.0) {
    const at::Tensor of_ce = ce_term(student, of_block(targets.labels), of_block(targets.ce_weights), c,
                                     of_block(result.token_ce), need_gradient);
    gradient = gradient.defined() ? gradient.add_(of_ce) : of_ce;
  }
  if (need_gradient) grad_logits.copy_(gradient);
}

ForwardResult forward_chunks(const at::Tensor& hidden, const at::Tensor& lm_head, const at::Tensor& teacher_hidden,
                             const at::Tensor& teacher_lm_head, const Targets& targets, const Coefficients& c,
                             bool need_hidden, bool need_lm_head) {
  const int64_t num_tokens = hidden.size(0);
  const DeviceSpan span(hidden.device(), "device", "loss");
  const auto float_options = hidden.options().dtype(at::kFloat);
  ForwardResult result;
  if (c.kl != 0.0) result.token_kl = at::empty({num_tokens}, float_options);
  if (c.ce != 0.0) result.token_ce = at::empty({num_tokens}, float_options);
  if (need_hidden) result.grad_hidden = at::empty_like(hidden);
  if (need_lm_head) result.grad_lm_head = at::zeros(lm_head.sizes(), float_options);
  if (c.kl == 0.0 && c.ce == 0.0) return result;
  for (int64_t first = 0; first < num_tokens; first += c.chunk_tokens) {
    const int64_t count = std::min(c.chunk_tokens, num_tokens - first);
    const at::Tensor logits = chunk_logits(hidden, lm_head, first, count);
    at::Tensor teacher_logits;
    if (c.kl != 0.0) teacher_logits = chunk_logits(teacher_hidden, teacher_lm_head, first, count);
    // The gradient takes the place of the logits; that of lm_head is made of it in float32.
    const at::Tensor grad_logits = need_lm_head ? logits.to(at::kFloat) : logits;
    const int64_t rows = loss_block_rows(lm_head.size(0));
    for (int64_t row = 0; row < count; row += rows) {
      const int64_t num_rows = std::min(rows, count - row);
      const Block block{.first = first + row, .count = num_rows};
      add_block(block, logits.narrow(0, row, num_rows),
                teacher_logits.defined() ? teacher_logits.narrow(0, row, num_rows) : at::Tensor(), targets, c, result,
                need_hidden || need_lm_head ? grad_logits.narrow(0, row, num_rows) : at::Tensor());
    }
    const DeviceSpan of_gradients(hidden.device(), "device", "lm_head");
    if (need_hidden) {
      result.grad_hidden.narrow(0, first, count).copy_(at::matmul(grad_logits.to(lm_head.scalar_type()), lm_head));
    }
    if (need_lm_head) {
      result.grad_lm_head.add_(at::matmul(grad_logits.t(), hidden.narrow(0, first, count).to(at::kFloat)));
    }
  }
  return result;
}

std::vector<LossSums> sequence_sums(const Targets& targets, const ForwardResult& result, int64_t num_sequences) {
  std::vector<LossSums> sequences(static_cast<size_t>(num_sequences));
  const auto fill = [&](double LossSums::*member, const at::Tensor& per_token) {
    if (!per_token.defined()) return;
    const std::vector<double> sums = sums_by_sequence(per_token, num_sequences);
    for (size_t i = 0; i < sums.size(); ++i) sequences[i].*member = sums[i];
  };
  fill(&LossSums::kl, result.token_kl);
  fill(&LossSums::ce, result.token_ce);
  fill(&LossSums::ce_count, targets.ce_weights);
  fill(&LossSums::kl_count, targets.kl_weights.defined() ? targets.kl_weights : at::ones_like(targets.ce_weights));
  return sequences;
}

// Gradients of a loss by its inputs, known since its forward; undefined where an input needs none. A type of its own
// because autograd takes every tensor argument for a differentiable input.
struct KnownGradients {
  at::Tensor hidden, lm_head;
};

// Gives the value, and in the backward the gradients, scaled.
class KnownGradient : public torch::autograd::Function<KnownGradient> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& /*hidden*/,
                            const at::Tensor& lm_head, const at::Tensor& value, const KnownGradients& gradients) {
    context->saved_data["has_hidden"] = gradients.hidden.defined();
    context->saved_data["has_lm_head"] = gradients.lm_head.defined();
    context->saved_data["lm_head_dtype"] = static_cast<int64_t>(lm_head.scalar_type());
    context->save_for_backward({gradients.hidden, gradients.lm_head});
    return value.clone();
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grad_outputs) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& scale = grad_outputs[0];
    at::Tensor grad_hidden, grad_lm_head;
    if (context->saved_data["has_hidden"].toBool()) grad_hidden = saved[0] * scale.to(saved[0].scalar_type());
    if (context->saved_data["has_lm_head"].toBool()) {
      const auto dtype = static_cast<at::ScalarType>(context->saved_data["lm_head_dtype"].toInt());
      grad_lm_head = (saved[1] * scale).to(dtype);
    }
    return {grad_hidden, grad_lm_head, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

void describe(base::FieldVisitor& visitor, LossConfig& config) {
  visitor.field("output", config.output, Role::recipe,
                "weight of the loss on what the model gives (KL and cross-entropy); 0: none, where layers are aligned",
                {0.0, 1e6});
  visitor.field("distill_alpha", config.distill_alpha, Role::recipe,
                "weight of the KL to the teacher (of `divergence`); the rest weighs the cross-entropy", {0.0, 1.0});
  visitor.field("temperature", config.temperature, Role::recipe, "softmax temperature of the KL", {1e-3, 1e3});
  visitor.choice("divergence", config.divergence, Role::recipe,
                 {{"forward_kl", Divergence::forward_kl},
                  {"reverse_kl", Divergence::reverse_kl},
                  {"jensen_shannon", Divergence::jensen_shannon}},
                 "of teacher p and student q: KL(p||q); KL(q||p); or beta KL(p||m) + (1-beta) KL(q||m), where m = beta "
                 "p + (1-beta) q");
  visitor.field("beta", config.beta, Role::recipe, "of jensen_shannon", {1e-3, 0.999});
  visitor.field("top_k", config.top_k, Role::recipe,
                "the divergence looks at this many of the teacher's likeliest tokens only, with both distributions "
                "renormalised over them; 0: the whole vocabulary",
                {0, int64_t{1} << 31});
  visitor.choice("kl_on", config.kl_on, Role::recipe, {{"all", KlPositions::all}, {"masked", KlPositions::masked}},
                 "data with a loss mask (chat): masked: the KL counts where the next token counts in the mask; all: it "
                 "counts everywhere");
  visitor.field("chunk_bytes", config.chunk_bytes, Role::recipe,
                "bytes of logits over the vocabulary that exist at one time, of student and teacher each; bounds the "
                "memory of the loss",
                {int64_t{1} << 10, int64_t{1} << 40});
  visitor.field("chunk_tokens", config.chunk_tokens, Role::recipe,
                "the same as a number of tokens; 0: as many as chunk_bytes holds", {0, int64_t{1} << 24});
  visitor.field("alignment", config.alignment, Role::recipe,
                "weight of the alignment: what the student's layers give against what the teacher's give; 0: none",
                {0.0, 1e9});
  visitor.choice(
      "alignment_of", config.alignment_of, Role::recipe,
      {{"attention", AlignmentOf::attention}, {"hidden", AlignmentOf::hidden}},
      "what is compared: what a layer's attention adds, with the adapter beside it, or the hidden state that "
      "the layer gives");
  visitor.choice("alignment_by", config.alignment_by, Role::recipe,
                 {{"mse", AlignmentBy::mse}, {"cosine", AlignmentBy::cosine}},
                 "mse: mean of the squared differences over the width; cosine: 1 - cosine of the angle");
  visitor.choice("alignment_input", config.alignment_input, Role::recipe,
                 {{"teacher", AlignmentInput::teacher}, {"student", AlignmentInput::student}},
                 "what a compared layer gets: what the teacher's layer gets, so that each learns apart and no error "
                 "travels, or what comes through the student");
  visitor.field("alignment_layers", config.alignment_layers, Role::recipe,
                "weight of each layer in the alignment, and if given of the final norm's output; empty: those with an "
                "adapter count alike",
                {0.0, 1e9});
  visitor.field("code_balance", config.code_balance, Role::recipe,
                "weight of a loss that pushes each bit of queries, keys and values to be 1 half of the time: the "
                "squared mean of 2 sigmoid(logit / bits_tau) - 1 over the positions of a micro-batch; 0: none",
                {0.0, 1e9});
  visitor.field("code_consistency", config.code_consistency, Role::recipe,
                "weight of a loss that pulls query and key of a position to one code, the sign of the sum of their "
                "logits; 0: none",
                {0.0, 1e9});
}

int64_t loss_block_rows(int64_t vocabulary_size) {
  return std::max<int64_t>(1, kLossBlockBytes / (vocabulary_size * int64_t{sizeof(float)}));
}

int64_t LossConfig::tokens_at_once(int64_t vocabulary_size, int64_t element_bytes) const {
  return chunk_tokens > 0 ? chunk_tokens : std::max<int64_t>(1, chunk_bytes / (vocabulary_size * element_bytes));
}

void check(base::ConfigProblems& problems, const LossConfig& config) {
  problems.require(config.top_k != 1, {"top_k"},
                   "is 1: renormalised over one token both distributions are 1, and nothing is taught; take 2 or more, "
                   "or 0 for the whole vocabulary");
  problems.require(config.output > 0 || config.alignment > 0, {"output", "alignment"}, "is 0, and so is ",
                   problems.full_key("alignment"), ": there is nothing to learn");
}

std::string divergence_text(const LossConfig& config) {
  const bool is_forward = config.divergence == Divergence::forward_kl;
  if (is_forward && config.top_k == 0) return "";
  std::string settings;
  if (config.divergence == Divergence::jensen_shannon) settings = base::concat("beta=", config.beta);
  if (config.top_k > 0) settings += base::concat(settings.empty() ? "" : ", ", "top_k=", config.top_k);
  const char* name = is_forward ? "forward_kl" : "jensen_shannon";
  if (config.divergence == Divergence::reverse_kl) name = "reverse_kl";
  return settings.empty() ? std::string(name) : base::concat(name, "(", settings, ")");
}

LossSums count_tokens(const LossInput& input, int64_t vocabulary_size) {
  const at::Tensor& labels = input.labels;
  const at::Tensor wrong = (labels.lt(0).logical_or(labels.ge(vocabulary_size))).logical_and(labels.ne(kIgnored));
  if (wrong.any().item<bool>()) {
    const at::Tensor where = wrong.nonzero();
    const int64_t row = where[0][0].item<int64_t>(), column = where[0][1].item<int64_t>();
    throw base::DataError(base::concat("label ", labels[row][column].item<int64_t>(), " at sequence ", row,
                                       ", position ", column, " is outside the vocabulary of ", vocabulary_size,
                                       " tokens; was the data made with another tokenizer?"));
  }
  const Targets targets = make_targets(input);
  LossSums sums;
  sums.ce_count = sum_by_sequence(targets.ce_weights, labels.size(0));
  sums.kl_count = targets.kl_weights.defined() ? sum_by_sequence(targets.kl_weights, labels.size(0))
                                               : static_cast<double>(labels.numel());
  sums.alignment_count =
      static_cast<double>(labels.numel() - (input.padding.defined() ? input.padding.sum().item<int64_t>() : 0));
  return sums;
}

Loss distillation_loss(const LossInput& input, const LossConfig& config, double global_kl_count,
                       double global_ce_count) {
  const int64_t num_sequences = input.labels.size(0);
  const int64_t width = input.student_hidden.size(-1);
  Coefficients c;
  c.kl = global_kl_count > 0 ? config.output * config.distill_alpha / global_kl_count : 0.0;
  c.ce = global_ce_count > 0 ? config.output * (1.0 - config.distill_alpha) / global_ce_count : 0.0;
  c.temperature = config.temperature;
  c.divergence = config.divergence;
  c.beta = config.beta;
  c.top_k = config.top_k;
  c.chunk_tokens = config.tokens_at_once(input.student_lm_head);
  base::require(c.kl == 0.0 || input.teacher_hidden.defined(), "distill_alpha is ", config.distill_alpha,
                " but there is no teacher");
  const at::Tensor hidden = input.student_hidden.reshape({-1, width});
  const bool has_term = c.kl != 0.0 || c.ce != 0.0;
  const bool need_hidden = has_term && at::GradMode::is_enabled() && hidden.requires_grad();
  const bool need_lm_head = has_term && at::GradMode::is_enabled() && input.student_lm_head.requires_grad();
  ForwardResult result;
  Loss loss;
  {
    at::NoGradGuard no_grad;
    const Targets targets = make_targets(input);
    const at::Tensor teacher_hidden =
        input.teacher_hidden.defined() ? input.teacher_hidden.flatten(0, 1) : at::Tensor();
    result = forward_chunks(hidden.detach(), input.student_lm_head.detach(), teacher_hidden, input.teacher_lm_head,
                            targets, c, need_hidden, need_lm_head);
    loss.sums = count_tokens(input, input.student_lm_head.size(0));
    if (result.token_kl.defined()) loss.sums.kl = sum_by_sequence(result.token_kl, num_sequences);
    if (result.token_ce.defined()) loss.sums.ce = sum_by_sequence(result.token_ce, num_sequences);
    loss.sequences = sequence_sums(targets, result, num_sequences);
    const at::Tensor is_counted = input.padding.defined() ? input.padding.logical_not() : at::ones_like(input.labels);
    const std::vector<double> counts = sums_by_sequence(is_counted, num_sequences);
    for (size_t i = 0; i < counts.size(); ++i) loss.sequences[i].alignment_count = counts[i];
    loss.value = at::scalar_tensor(c.kl * loss.sums.kl + c.ce * loss.sums.ce, hidden.options().dtype(at::kFloat));
  }
  if (need_hidden || need_lm_head) {
    loss.value = KnownGradient::apply(hidden, input.student_lm_head, loss.value,
                                      KnownGradients{result.grad_hidden, result.grad_lm_head});
  }
  return loss;
}

at::Tensor token_cross_entropy(const at::Tensor& hidden, const at::Tensor& lm_head, const at::Tensor& labels,
                               const LossConfig& config) {
  at::NoGradGuard no_grad;
  const int64_t num_sequences = labels.size(0), length = labels.size(1);
  LossInput input;
  input.labels = labels;
  const Targets targets = make_targets(input);
  Coefficients c;
  c.ce = 1.0;
  c.chunk_tokens = config.tokens_at_once(lm_head);
  const ForwardResult result =
      forward_chunks(hidden.reshape({-1, hidden.size(-1)}), lm_head, {}, {}, targets, c, false, false);
  const at::Tensor by_position = result.token_ce.reshape({num_sequences, length});
  at::Tensor by_label = at::zeros_like(by_position);
  if (length > 1) by_label.narrow(1, 1, length - 1).copy_(by_position.narrow(1, 0, length - 1));
  return by_label;
}

}  // namespace rosa::training
