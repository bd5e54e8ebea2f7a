// CausalAttention: who sees whom in one batch (global or sliding window, packed documents), and the attention under it.
// Made once a forward and used by every layer. Knows no weights and no rotary embedding.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace rosa::models {

// What the tokens of a layer see of a text.
struct AttentionSpan {
  int64_t window = 0;  // position t sees t-window+1 .. t; 0: every position up to t
  int64_t sinks = 0;   // with a window, and besides: the first positions of the text ("attention sinks", StreamingLLM,
                       // arXiv 2309.17453; at their own positions)

  bool operator==(const AttentionSpan&) const = default;
};

class CausalAttention {
 public:
  // `documents`: undefined, or int64 [B,T], the number of each position's document, non-decreasing along a row: nobody
  // sees another document, and each is a text of its own with its own sinks.
  // `like` gives the device and floating point dtype of the queries.
  CausalAttention(int64_t batch, int64_t length, const AttentionSpan& span, const at::Tensor& documents,
                  const at::Tensor& like);

  // query [B,T,H,d], key and value [B,T,G,d] (H a multiple of G) -> [B,T,H*d]. Scaled by 1/sqrt(d). Differentiable.
  // With a window, memory and time grow as T * (window + sinks).
  at::Tensor operator()(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;

 private:
  at::Tensor blocked_mask(const at::Tensor& like) const;
  void find_distant_sinks(const at::Tensor& like);
  at::Tensor in_blocks(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;
  at::Tensor rows_mask(int64_t first, int64_t last, const at::Tensor& like) const;
  at::Tensor in_row_chunks(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) const;

  int64_t batch_;
  int64_t length_;
  int64_t window_;     // 0: global
  int64_t sinks_;      // 0 without a window
  int64_t block_ = 0;  // > 0: queries in blocks of this many, each with the keys of its block and the one before
  int64_t num_blocks_ = 0;
  at::Tensor documents_;
  at::Tensor starts_;         // int64 [B,T]: where each position's document begins; with documents and sinks
  at::Tensor distant_sinks_;  // with blocks and sinks: [B|1, blocks * sinks, T], ones where a block's sinks are
  at::Tensor mask_;           // additive, for scaled_dot_product_attention; undefined where only causality restricts
};

// Position of each token in its document: int64 [B,T], 0 at every document's start.
at::Tensor positions_in_documents(const at::Tensor& documents);

}  // namespace rosa::models
