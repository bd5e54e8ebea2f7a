// Divergences of the student's distribution from the teacher's over a vocabulary, with their gradients. Knows no
// temperature, weights or chunks: losses.h does.
//
// p is the teacher's distribution, q the student's. KL(a || b) = sum over tokens of a log(a / b), in nats.
//   forward_kl      KL(p || q)
//   reverse_kl      KL(q || p)
//   jensen_shannon  beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q: the generalised
//                   Jensen-Shannon divergence of GKD (arXiv 2306.13649). Both ends of beta are 0, so it lies between
//                   them; divided by beta it nears KL(p || q) as beta goes to 0, and divided by 1 - beta KL(q || p) as
//                   it goes to 1.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace rosa::training {

enum class Divergence { forward_kl, reverse_kl, jensen_shannon };

struct DivergenceRows {
  at::Tensor value;     // [n], of each row
  at::Tensor gradient;  // [n,v], of the value by the logits of q; undefined where it was not asked for
};

// `log_p` and `log_q` are log-probabilities, float [n,v], each row of them a distribution. `beta` is between 0 and 1,
// without the ends, and looked at by jensen_shannon only. No autograd: the gradient is computed here.
DivergenceRows divergence_rows(Divergence divergence, double beta, const at::Tensor& log_p, const at::Tensor& log_q,
                               bool need_gradient);

}  // namespace rosa::training
