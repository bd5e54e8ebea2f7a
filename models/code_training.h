// What helps queries, keys and values to learn as discrete codes: two losses on their logits, and dropout of the
// gradient that an estimator gives queries and keys. None of it changes a forward: what it adds or takes happens in the
// backward of one identity, so it needs no path to the loss of the output, and a layer that is run again there
// (pieces.h) gives the same bits.
//
// With y = tanh(x / (2 bits_tau)) = 2 sigmoid(x / bits_tau) - 1, a soft bit of a logit x from -1 to 1:
//
//     balance      mean over queries, keys and values, and over heads and bits, of (mean over positions of y)^2:
//                  0 where each bit is 1 half of the time, 1 where none ever changes
//     consistency  mean over positions, heads and bits of ((c - y_query)^2 + (c - y_key)^2) / 2, where c = sign(x_query
//                  + x_key) is one code for the query and the key of a position: 0 where both are this code, and sure
//
// Both are terms of deep cross-modal hashing (Jiang and Li, CVPR 2017), which learns one code for two views of a thing:
// its balance and its quantisation, here as means. Positions are those of a forward, whatever their documents.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>

namespace rosa::models {

// Which credits are dropped together: those of a position in all heads, or in one key/value head and the query heads
// that read it.
enum class DropoutUnit { head, position };

struct GradientDropout {
  double share = 0.0;  // dropped, in [0, 1); the rest is divided by 1 - share, so that the mean stays
  DropoutUnit unit = DropoutUnit::head;
};

struct CodeLosses {
  double balance = 0.0, consistency = 0.0;
};

// How one training forward helps the codes of all layers. By default it does not.
struct CodeTraining {
  // What the gradients of the mean over layers are multiplied by: of a weight, the part of one micro-batch.
  CodeLosses weights;
  // Where weights are given: float64 [2] of each layer, balance and consistency. Owned with whoever reads it.
  std::shared_ptr<std::map<int64_t, at::Tensor>> values;
  // What the dropout's random numbers belong to, besides layer and position.
  uint64_t seed = 0;
  int64_t step = 0;
  int64_t first_sample = 0;  // of the forward, in the step

  bool has_losses() const { return weights.balance > 0 || weights.consistency > 0; }
};

// The mean over the layers of CodeTraining::values.
CodeLosses mean_losses(const std::map<int64_t, at::Tensor>& values);

struct CodeLogits {
  at::Tensor query, key, value;  // [B,H,T,D], [B,G,T,D], [B,G,T,M]; H a multiple of G
};

// float64 [2]: balance and consistency of one layer. No gradient.
at::Tensor code_losses(const CodeLogits& logits, double bits_tau);
// Their gradients, each multiplied by its weight.
CodeLogits code_loss_gradients(const CodeLogits& logits, double bits_tau, const CodeLosses& weights);

// float32 [B,G,T,1], or [B,1,T,1] by position: 0, or 1 / (1 - share). A pure function of seed, step, sample, layer,
// position and, where heads differ, the head.
at::Tensor dropout_factors(const GradientDropout& dropout, const CodeTraining& training, int64_t layer,
                           const at::Tensor& key);

// The same logits. In the backward the gradients that come to queries and keys get the dropout, and then all get those
// of the losses. `num_layers`: of the mean. Without losses and dropout it does nothing at all.
CodeLogits train_codes(const CodeLogits& logits, const CodeTraining& training, const GradientDropout& dropout,
                       double bits_tau, int64_t layer, int64_t num_layers);

}  // namespace rosa::models
