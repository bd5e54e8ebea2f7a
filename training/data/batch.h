// Batch: the tokens of some sequences and what is known about each of them. All tensors are on the CPU, [n, T].
#pragma once

#include <ATen/ATen.h>

namespace rosa::training {

// The label of a position that is not counted.
inline constexpr int64_t kIgnoredLabel = -100;

struct Batch {
  at::Tensor input_ids;     // int64
  at::Tensor labels;        // int64; labels[t] is the token AT t (the loss shifts), or -100: not counted
  at::Tensor loss_weights;  // float32 beside labels, or undefined: all 1
  at::Tensor loss_mask;     // bool beside labels: false where the file's loss mask says that the token does not count
                            // (its label is -100 then); or undefined: the file has no mask
  at::Tensor recallable;    // bool beside labels: the token is determined by a copy of earlier ones; or undefined
  at::Tensor documents;     // int64, index of the document within the row, non-decreasing; or undefined: one document
  at::Tensor sources;       // int64 [n], number of the source of each sequence; or undefined: there is one source
  at::Tensor padding;       // bool, true where there is no token (input id 0, label -100); or undefined: none
};

}  // namespace rosa::training
