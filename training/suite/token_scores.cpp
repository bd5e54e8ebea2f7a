#include "training/suite/token_scores.h"

#include <algorithm>
#include <vector>

#include "base/activity.h"

namespace rosa::training {

TokenScores score_tokens(const models::CausalModel& model, const at::Tensor& hidden, const at::Tensor& ids,
                         const TeacherStates& teacher, int64_t chunk_tokens) {
  const at::NoGradGuard no_gradient;
  std::vector<at::Tensor> ce, top1, kl, agreement;
  const at::Tensor labels = ids.to(hidden.device());
  for (int64_t first = 0; first < hidden.size(0); first += chunk_tokens) {
    const int64_t count = std::min(chunk_tokens, hidden.size(0) - first);
    const at::Tensor log_p = model.logits(hidden.narrow(0, first, count)).to(at::kFloat).log_softmax(-1);
    const at::Tensor chunk = labels.narrow(0, first, count);
    const at::Tensor choice = log_p.argmax(-1);
    base::note_progress();
    ce.push_back(log_p.gather(1, chunk.unsqueeze(1)).squeeze(1).neg().to(at::kDouble).cpu());
    top1.push_back(choice.eq(chunk).cpu());
    if (!teacher.hidden.defined()) continue;
    const at::Tensor log_q =
        teacher.model.logits(teacher.hidden.narrow(0, first, count)).to(at::kFloat).log_softmax(-1);
    kl.push_back((log_q.exp() * (log_q - log_p)).sum(-1).to(at::kDouble).cpu());
    agreement.push_back(log_q.argmax(-1).eq(choice).cpu());
  }
  TokenScores scores{at::cat(ce), at::cat(top1), {}, {}};
  if (teacher.hidden.defined()) {
    scores.kl = at::cat(kl);
    scores.agreement = at::cat(agreement);
  }
  return scores;
}

}  // namespace rosa::training
