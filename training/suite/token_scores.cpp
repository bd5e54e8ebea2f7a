#include "training/suite/token_scores.h"

#include <algorithm>

#include "base/activity.h"

namespace rosa::training {
namespace {

// A block of rows of logits, as float32.
struct Block {
  int64_t first = 0, count = 0;
  at::Tensor of(const at::Tensor& rows) const { return rows.narrow(0, first, count); }
  at::Tensor log_probabilities(const at::Tensor& logits) const { return of(logits).to(at::kFloat).log_softmax(-1); }
};

}  // namespace

TokenScores score_tokens(const models::CausalModel& model, const at::Tensor& hidden, const at::Tensor& ids,
                         const TeacherStates& teacher, const LossConfig& config) {
  const at::NoGradGuard no_gradient;
  const int64_t num_tokens = hidden.size(0), vocabulary_size = model.config().vocab_size;
  const int64_t chunk_tokens = config.tokens_at_once(model.lm_head_weight()),
                block_rows = loss_block_rows(vocabulary_size);
  const auto empty = [&](at::ScalarType type) { return at::empty({num_tokens}, hidden.options().dtype(type)); };
  at::Tensor ce = empty(at::kFloat), top1 = empty(at::kBool), kl, agreement;
  if (teacher.hidden.defined()) kl = empty(at::kFloat), agreement = empty(at::kBool);
  const at::Tensor labels = ids.to(hidden.device());
  for (int64_t first = 0; first < num_tokens; first += chunk_tokens) {
    const Block chunk{first, std::min(chunk_tokens, num_tokens - first)};
    const at::Tensor logits = model.logits(chunk.of(hidden));
    at::Tensor teacher_logits;
    if (teacher.hidden.defined()) teacher_logits = teacher.model.logits(chunk.of(teacher.hidden));
    for (int64_t row = 0; row < chunk.count; row += block_rows) {
      const Block block{row, std::min(block_rows, chunk.count - row)}, place{first + row, block.count};
      const at::Tensor log_p = block.log_probabilities(logits), choice = log_p.argmax(-1), label = place.of(labels);
      place.of(ce).copy_(log_p.gather(1, label.unsqueeze(1)).squeeze(1).neg_());
      place.of(top1).copy_(choice.eq(label));
      if (!teacher.hidden.defined()) continue;
      const at::Tensor log_q = block.log_probabilities(teacher_logits);
      place.of(kl).copy_((log_q.exp() * (log_q - log_p)).sum(-1));
      place.of(agreement).copy_(log_q.argmax(-1).eq(choice));
    }
    base::note_progress();
  }
  TokenScores scores{ce.to(at::kDouble).cpu(), top1.cpu(), {}, {}};
  if (teacher.hidden.defined()) {
    scores.kl = kl.to(at::kDouble).cpu();
    scores.agreement = agreement.cpu();
  }
  return scores;
}

}  // namespace rosa::training
