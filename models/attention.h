// CausalAttention: who sees whom in one batch (global or sliding window, packed documents), and the attention under it.
// Made once a forward and used by every layer. Knows no weights and no rotary embedding.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace rosa::models {

class CausalAttention {
 public:
  // Position t sees t-window+1 .. t; window 0: every position up to t. `documents`: undefined, or int64 [B,T], the
  // number of each position's document, non-decreasing along a row: nobody sees another document.
  // `like` gives the device and floating point dtype of the queries.
  CausalAttention(int64_t batch, int64_t length, int64_t window, const at::Tensor& documents, const at::Tensor& like);

  // query [B,T,H,d], key and value [B,T,G,d] (H a multiple of G) -> [B,T,H*d]. Scaled by 1/sqrt(d). Differentiable.
  // With a window, memory and time grow as T * window.
  at::Tensor operator()(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;

 private:
  at::Tensor blocked_mask(const at::Tensor& documents, const at::Tensor& like) const;
  at::Tensor in_blocks(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;
  at::Tensor rows_mask(int64_t first, int64_t last, const at::Tensor& like) const;
  at::Tensor in_row_chunks(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;

  int64_t batch_;
  int64_t length_;
  int64_t window_;     // 0: global
  int64_t block_ = 0;  // > 0: queries in blocks of this many, each with the keys of its block and the one before
  int64_t num_blocks_ = 0;
  at::Tensor documents_;
  at::Tensor mask_;  // additive, for scaled_dot_product_attention; undefined where only causality restricts
};

// Position of each token in its document: int64 [B,T], 0 at every document's start.
at::Tensor positions_in_documents(const at::Tensor& documents);

}  // namespace rosa::models
