// Losses over the vocabulary, in chunks of tokens: distillation (a divergence from the teacher, below called the KL
// term, whichever it is) and next-token cross-entropy, from hidden states, so that no [tokens x vocabulary] tensor of
// the whole batch ever exists.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"
#include "training/divergence.h"

namespace rosa::training {

// Where the KL term counts in data with a loss mask; without one, everywhere but at padding.
enum class KlPositions {
  all,     // whatever the mask says
  masked,  // where the next token counts
};

// What the alignment compares: what a layer's attention adds (with the adapter beside it), or what the layer gives.
enum class AlignmentOf { attention, hidden };
enum class AlignmentBy { mse, cosine };  // mean of squared differences over the width; 1 - cosine
// What a layer gets that is compared: the teacher's own input of it, or what comes through the student.
enum class AlignmentInput { teacher, student };

struct LossConfig {
  double output = 1.0;         // weight of the loss on what the model gives: KL term and cross-entropy
  double distill_alpha = 1.0;  // weight of the KL term; 1 - distill_alpha weighs the cross-entropy
  double temperature = 1.0;    // T of both softmaxes of the KL term, which is multiplied by T^2
  Divergence divergence = Divergence::forward_kl;
  double beta = 0.5;  // of jensen_shannon
  // The KL term looks at the teacher's top_k likeliest tokens of each position only, and both distributions are
  // renormalised over them: what the student gives to other tokens has no part in it. 0: the whole vocabulary.
  int64_t top_k = 0;
  KlPositions kl_on = KlPositions::masked;
  // Logits exist of so many tokens at one time as fit into chunk_bytes, at least one; of chunk_tokens where that is
  // given.
  int64_t chunk_bytes = int64_t{64} << 20;
  int64_t chunk_tokens = 0;
  double alignment = 0.0;  // weight of the loss on what the layers give; see alignment.h
  AlignmentOf alignment_of = AlignmentOf::hidden;
  AlignmentBy alignment_by = AlignmentBy::mse;
  AlignmentInput alignment_input = AlignmentInput::teacher;
  std::vector<double> alignment_layers = {};  // weight of each layer; empty: those with an adapter alike
  // Weights of the losses on the adapters' codes; see models/code_training.h.
  double code_balance = 0.0;
  double code_consistency = 0.0;

  // Whether the teacher is needed.
  bool has_teacher() const { return (output > 0 && distill_alpha > 0) || alignment > 0; }
  // The forwards of the student in a step: one whose layers are fed what the teacher's get, and one as it is used.
  bool has_fed_forward() const { return alignment > 0 && alignment_input == AlignmentInput::teacher; }
  bool has_own_forward() const { return output > 0 || !has_fed_forward(); }
  bool has_code_losses() const { return code_balance > 0 || code_consistency > 0; }
  // Tokens of a chunk; the logits' elements are of the compute dtype.
  int64_t tokens_at_once(int64_t vocabulary_size, int64_t element_bytes) const;
  int64_t tokens_at_once(const at::Tensor& lm_head) const {
    return tokens_at_once(lm_head.size(0), static_cast<int64_t>(lm_head.element_size()));
  }
};

void describe(base::FieldVisitor& visitor, LossConfig& config);
void check(base::ConfigProblems& problems, const LossConfig& config);

// What the KL term is, for metrics: "reverse_kl", "jensen_shannon(beta=0.5, top_k=32)". Empty for plain forward_kl.
std::string divergence_text(const LossConfig& config);

// Sums over tokens (float64: tokens of a sequence, then sequences in order) and what they are divided by.
struct LossSums {
  double kl = 0.0;
  double ce = 0.0;
  double kl_count = 0.0;  // positions of the KL term
  double ce_count = 0.0;  // sum of the loss weights of counted labels (their number where all weights are 1)
  double alignment = 0.0, alignment_count = 0.0;  // positions that are no padding
};

// One micro-batch. N = B * T tokens; `hidden` tensors are [B,T,hidden] after the final norm, lm_head is
// [vocabulary,hidden].
struct LossInput {
  at::Tensor student_hidden;
  at::Tensor student_lm_head;
  at::Tensor teacher_hidden;  // undefined where distill_alpha is 0
  at::Tensor teacher_lm_head;
  at::Tensor labels;        // int64 [B,T]; the label AT t is predicted by position t-1; -100 is not counted
  at::Tensor loss_weights;  // float [B,T] beside labels, or undefined: 1
  at::Tensor kl_mask;       // bool [B,T] beside labels: position t-1 is left out of the KL term where t is false, and
                            // the last position too; undefined: all count
  at::Tensor padding;       // bool [B,T], true where a position is padding (left out of the KL term), or undefined
};

// What is made of a chunk's logits, as float32, is made in blocks of rows of about this size: they stay in the cache,
// and their memory is not asked of the system anew each time.
inline constexpr int64_t kLossBlockBytes = int64_t{4} << 20;
// Rows of a block, at least one.
int64_t loss_block_rows(int64_t vocabulary_size);

// Counts of one micro-batch, known before any forward: what the global counts are summed from. Throws DataError for a
// label outside [0, vocabulary) other than -100.
LossSums count_tokens(const LossInput& input, int64_t vocabulary_size);

struct Loss {
  at::Tensor value;  // scalar: output * (distill_alpha * kl / kl_count + (1 - distill_alpha) * ce / ce_count), with the
                     // counts given
  LossSums sums;     // of this micro-batch, detached
  std::vector<LossSums> sequences;  // the same of each of its sequences
};

// The loss of LossConfig with the counts of the whole global batch. Differentiable in student_hidden and
// student_lm_head: the gradients are computed chunk by chunk in the forward, while the chunk's logits exist.
Loss distillation_loss(const LossInput& input, const LossConfig& config, double global_kl_count,
                       double global_ce_count);

// Cross-entropy of each predicted label, float32 [B,T]: entry t is that of label t given what is before it; 0 at t = 0
// and where the label is -100. No gradient. Of `config` the chunks count.
at::Tensor token_cross_entropy(const at::Tensor& hidden, const at::Tensor& lm_head, const at::Tensor& labels,
                               const LossConfig& config = {});

}  // namespace rosa::training
