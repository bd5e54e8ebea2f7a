#include "training/divergence.h"

#include <cmath>

namespace rosa::training {
namespace {

DivergenceRows forward_kl(const at::Tensor& log_p, const at::Tensor& log_q, bool need_gradient) {
  const at::Tensor p = log_p.exp();
  DivergenceRows rows;
  rows.value = (log_p - log_q).mul_(p).sum(1);
  if (need_gradient) rows.gradient = log_q.exp().sub_(p);
  return rows;
}

// Of the value sum q g by the logits of q, where g's own change adds nothing to it: q (g - sum q g). Overwrites g.
at::Tensor centred(at::Tensor g, const at::Tensor& q, const at::Tensor& mean) {
  return g.sub_(mean.unsqueeze(1)).mul_(q);
}

DivergenceRows reverse_kl(const at::Tensor& log_p, const at::Tensor& log_q, bool need_gradient) {
  const at::Tensor q = log_q.exp(), ratio = log_q - log_p;
  DivergenceRows rows;
  rows.value = (q * ratio).sum(1);
  if (need_gradient) rows.gradient = centred(ratio, q, rows.value);
  return rows;
}

// Its derivative by q is (1 - beta) log(q / m): what m's own change adds sums to a constant. Tensors are overwritten
// where they can be, since each has the size of a chunk's logits.
DivergenceRows jensen_shannon(double beta, const at::Tensor& log_p, const at::Tensor& log_q, bool need_gradient) {
  at::Tensor log_m = at::logaddexp(log_p + std::log(beta), log_q + std::log1p(-beta));
  const at::Tensor from_p = (log_p - log_m).mul_(log_p.exp()).sum(1);
  const at::Tensor ratio = log_m.sub_(log_q).neg_();
  const at::Tensor q = log_q.exp();
  const at::Tensor from_q = (q * ratio).sum(1);
  DivergenceRows rows;
  rows.value = from_p * beta + from_q * (1.0 - beta);
  if (need_gradient) rows.gradient = centred(ratio, q, from_q).mul_(1.0 - beta);
  return rows;
}

}  // namespace

DivergenceRows divergence_rows(Divergence divergence, double beta, const at::Tensor& log_p, const at::Tensor& log_q,
                               bool need_gradient) {
  const at::NoGradGuard no_grad;
  if (divergence == Divergence::reverse_kl) return reverse_kl(log_p, log_q, need_gradient);
  if (divergence == Divergence::jensen_shannon) return jensen_shannon(beta, log_p, log_q, need_gradient);
  return forward_kl(log_p, log_q, need_gradient);
}

}  // namespace rosa::training
